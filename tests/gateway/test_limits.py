"""Token buckets."""

from gateway.limits import TokenBucket, TokenBuckets


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
