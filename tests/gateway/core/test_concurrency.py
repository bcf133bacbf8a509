"""Places at a time."""

from gateway.core.concurrency import Places


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
