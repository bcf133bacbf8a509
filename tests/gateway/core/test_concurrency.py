"""The limit on simultaneous uses."""

from gateway.core.concurrency import ConcurrencyLimit


def test_places_are_counted_by_name_and_given_back() -> None:
    places = ConcurrencyLimit(2)
    with (
        places.acquire("a") as first,
        places.acquire("a") as second,
        places.acquire("a") as third,
        places.acquire("b") as other,
    ):
        assert (first, second, third, other) == (True, True, False, True)
    with places.acquire("a") as first, places.acquire("a") as second:
        assert (first, second) == (True, True)


def test_a_number_of_zero_places_has_room_for_all() -> None:
    places = ConcurrencyLimit(0)
    with places.acquire("a") as first, places.acquire("a") as second:
        assert (first, second) == (True, True)
