"""Token buckets, and places."""

from gateway.limits import Places, TokenBucket, TokenBuckets


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


def test_places_are_counted_by_name_and_given_back() -> None:
    places = Places(2)
    with places.take("a") as first, places.take("a") as second, places.take("a") as third, places.take("b") as other:
        assert (first, second, third, other) == (True, True, False, True)
    with places.take("a") as first, places.take("a") as second:
        assert (first, second) == (True, True)


def test_a_number_of_zero_places_has_room_for_all() -> None:
    places = Places(0)
    with places.take("a") as first, places.take("a") as second:
        assert (first, second) == (True, True)
