"""Token buckets, and waits that grow with each failure."""

from gateway.core.rate_limits import Allowance, Backoff, TokenBucket, TokenBuckets


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=100)
    assert [bucket.take(100) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(100.25) == 0.25
    assert bucket.take(100.5) == 0
    assert bucket.take(100.5) > 0


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0)
    assert [bucket.take(1e9) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_rate_of_zero_lets_everything_through() -> None:
    bucket = TokenBucket(rate=0, burst=1, now=0)
    assert not any(bucket.take(0) for _ in range(1000))


def test_what_costs_more_than_there_is_passes_and_is_owed() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0)
    assert bucket.take(0, 10) == 0
    assert bucket.take(0) == 4
    assert bucket.take(4) == 0
    bucket.spend(4, 1)
    assert bucket.take(4) == 1


def test_what_is_spent_after_a_rest_comes_out_of_what_the_rest_has_brought() -> None:
    bucket = TokenBucket(rate=1, burst=10, now=0)
    bucket.spend(0, 10)
    bucket.spend(20, 10)
    assert bucket.take(20) == 1


def test_an_allowance_takes_nothing_of_any_bucket_if_one_is_empty() -> None:
    full, empty = TokenBucket(1, 5, now=0), TokenBucket(1, 5, now=0)
    empty.spend(0, 5)
    allowance = Allowance()
    allowance.add(full, "on this connection")
    allowance.add(empty, "of this user")
    assert allowance.take(0, 5) == (1, "of this user")
    assert full.take(0, 5) == 0
    allowance.remove("of this user")
    assert allowance.take(0) == (1, "on this connection")


def test_each_key_has_a_bucket_of_its_own() -> None:
    buckets = TokenBuckets(rate=1, burst=1)
    assert buckets.take("a", 0) == 0
    assert buckets.take("a", 0) > 0
    assert buckets.take("b", 0) == 0


def test_buckets_are_bounded_and_forget_the_one_used_longest_ago() -> None:
    buckets = TokenBuckets(rate=1, burst=1, capacity=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key, 0)
    assert buckets.take("a", 0) > 0
    assert buckets.take("b", 0) == 0


def test_a_bucket_that_a_caller_holds_is_found_again_however_many_come_after() -> None:
    buckets = TokenBuckets(rate=1, burst=1, capacity=2)
    held = buckets.get("a", 0)
    for key in "bcdefg":
        buckets.take(key, 0)
    assert buckets.get("a", 0) is held
    assert held.take(0) == 0
    assert buckets.take("a", 0) > 0


def test_where_there_is_no_rate_nothing_is_remembered() -> None:
    buckets = TokenBuckets(rate=0, burst=1)
    assert not any(buckets.take(key, 0) for key in "abcabc")
    assert buckets.get("a", 0) is buckets.get("b", 0)  # one bucket, which never runs out
    assert not any(buckets.get("a", 0).take(0, cost=1000) for _ in range(3))


def test_an_allowance_is_what_all_of_its_buckets_let_through() -> None:
    mine, ours = TokenBucket(rate=2, burst=2, now=0), TokenBucket(rate=1, burst=3, now=0)
    first, second = Allowance(), Allowance()
    first.add(mine, "on this connection")
    first.add(TokenBucket(rate=0, burst=1, now=0), "of nobody")
    for allowance in (first, second):
        allowance.add(ours, "of this user")
    assert [first.take(0) for _ in range(3)] == [None, None, (0.5, "on this connection")]
    assert [second.take(0) for _ in range(2)] == [None, (1, "of this user")]


def test_a_wait_doubles_with_each_failure_up_to_the_longest() -> None:
    backoff = Backoff(longest=10)
    now = 0.0
    waits: list[float] = []
    for _ in range(8):
        assert backoff.begin_attempt("a", now) == 0
        waits.append(backoff.begin_attempt("a", now) if len(waits) else 0)
        now += waits[-1]
    assert waits == [0, 1, 2, 4, 8, 10, 10, 10]


def test_after_a_wait_one_may_try_and_after_a_success_all_is_forgotten() -> None:
    backoff = Backoff(longest=10)
    assert [backoff.begin_attempt("a", 0) for _ in range(3)] == [0, 0, 1]
    assert backoff.begin_attempt("b", 0) == 0
    assert backoff.begin_attempt("a", 0.75) == 0.25
    backoff.succeed("a")
    assert [backoff.begin_attempt("a", 0.75) for _ in range(3)] == [0, 0, 1]


def test_an_attempt_without_an_outcome_does_not_count() -> None:
    backoff = Backoff(longest=10)
    for _ in range(5):
        assert backoff.begin_attempt("a", 0) == 0
        backoff.undo("a", 0)
    assert [backoff.begin_attempt("a", 0) for _ in range(3)] == [0, 0, 1]


def test_failures_are_forgotten_after_a_day() -> None:
    backoff = Backoff(longest=1e6)
    for _ in range(10):
        now = backoff.begin_attempt("a", 0) and 0
    assert backoff.begin_attempt("a", now) > 0
    assert [backoff.begin_attempt("a", 24 * 3600 + 2) for _ in range(3)] == [0, 0, 1]


def fail(backoff: Backoff, key: str, times: int, now: float) -> float:
    """Fail so many times, each as early as possible, and return the time after that."""
    for _ in range(times):
        while wait := backoff.begin_attempt(key, now):
            now += wait
    return now


def test_a_flood_of_other_names_washes_no_wait_away() -> None:
    backoff = Backoff(longest=900, capacity=100)
    now = fail(backoff, "alice", 12, 0)
    assert backoff.begin_attempt("alice", now) == 900
    for number in range(5000):
        backoff.begin_attempt(f"made up {number}", now)
    assert backoff.begin_attempt("alice", now) == 900
    now += 900
    assert backoff.begin_attempt("alice", now) == 0
    assert backoff.begin_attempt("alice", now) == 900
    # After a flood, other keys need not wait.
    assert not any(backoff.begin_attempt(f"bystander {number}", now) for number in range(5000))


def test_what_a_flood_has_pushed_aside_is_forgotten_after_a_day_and_after_a_success() -> None:
    backoff = Backoff(longest=900, capacity=100)
    now = fail(backoff, "alice", 12, 0)
    for number in range(100):
        backoff.begin_attempt(f"made up {number}", now)
    later = now + 900 + 24 * 3600 + 1
    assert [backoff.begin_attempt("alice", later) for _ in range(3)] == [0, 0, 1]
    backoff = Backoff(longest=900, capacity=100)
    now = fail(backoff, "alice", 12, 0) + 900
    for number in range(100):
        backoff.begin_attempt(f"made up {number}", now)
    assert backoff.begin_attempt("alice", now) == 0
    backoff.succeed("alice")
    assert [backoff.begin_attempt("alice", now) for _ in range(3)] == [0, 0, 1]


def test_without_a_longest_wait_there_is_none() -> None:
    backoff = Backoff(longest=0)
    assert not any(backoff.begin_attempt("a", 0) for _ in range(100))
