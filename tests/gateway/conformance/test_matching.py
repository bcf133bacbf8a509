"""What fits what a story expects."""

from typing import Any

import pytest

from gateway.conformance.matching import filled, fits


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({}, {"a": 1}),
        ("$_", None),
        ([1, "$_"], [1, 2]),
        ({"$any": [1, 2]}, 2),
        ({"$not": 1}, 2),
        ({"a": 1, "$not": {"b": "$_"}}, {"a": 1}),
        ({"$each": [{"a": 1}, {"a": 2}]}, [{"a": 2}, {"a": 1}]),
        ({"$has": "CHECK"}, "please check it"),
        ({"$length": 2}, [1, 2]),
        ({"$all": [{"$at_least": 1}, {"$at_most": 3}]}, 2.5),
        (["$x", "$x"], [1, 1]),
    ],
)
def test_what_fits(expected: Any, got: Any) -> None:
    assert fits(expected, got, {})


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        ({"a": 1}, {"b": 1}),
        ({}, []),
        (1, True),
        (1, 1.0),
        ([1], [1, 2]),
        ({"$any": [1, 2]}, 3),
        ({"a": 1, "$not": {"b": "$_"}}, {"a": 1, "b": None}),
        ({"$each": [1, 1]}, [1, 2]),
        ({"$each": [1]}, [1, 1]),
        ({"$at_least": 1}, "2"),
        ({"$at_least": 0}, True),
        ({"$has": "x"}, None),
        (["$x", "$x"], [1, 2]),
    ],
)
def test_what_does_not_fit(expected: Any, got: Any) -> None:
    assert not fits(expected, got, {})


def test_a_name_keeps_its_first_value_and_only_if_all_fits() -> None:
    names: dict[str, Any] = {}
    assert not fits({"id": "$id", "n": 1}, {"id": 7, "n": 2}, names)
    assert names == {}
    assert fits({"id": "$id", "n": 1}, {"id": 7, "n": 1}, names)
    assert names == {"id": 7}
    assert not fits("$id", 8, names)
    assert filled(["$id", "room-$id", "$other", {"$id": 1}], names) == [7, "room-7", "$other", {7: 1}]
