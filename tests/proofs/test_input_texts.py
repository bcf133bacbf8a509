"""The cases of JSON and the naughty strings are whole, and a wrong answer to one of them misses the bar."""

from collections import Counter

from proofs.input.json_cases import STRICTER, JsonCase, Tally, json_cases, same
from proofs.input.naughty import Trips, naughty_strings
from proofs.input.parsing import bar_of


def test_there_are_all_cases_and_the_stricter_ones_are_among_them() -> None:
    cases = {case.name: case for case in json_cases()}
    assert Counter(name[0] for name in cases) == {"y": 95, "n": 188, "i": 35}
    assert cases.keys() >= STRICTER.keys()
    assert len(cases["n_structure_100000_opening_arrays"].raw) == 100_000
    assert not cases["i_string_invalid_utf-8"].is_text
    assert all(case.is_text and case.value is not NotImplemented for case in cases.values() if case.must_pass)


def test_a_refused_value_and_an_accepted_mistake_are_both_wrong() -> None:
    tally = Tally("here")
    tally.count(JsonCase("y_array", b"[]"), True, "")
    tally.count(JsonCase("n_array", b"["), False, "")
    tally.count(JsonCase("i_array", b"[1e999]"), True, "")
    assert bar_of(tally).passed
    tally.count(JsonCase("y_array", b"[]"), False, "refused")
    tally.count(JsonCase("n_array", b"["), True, "accepted")
    assert tally.wrong == ["y_array: refused", "n_array: accepted"]
    assert not bar_of(tally).passed


def test_values_are_the_same_by_their_meaning_and_kind() -> None:
    assert same({"a": [1, 2.0, None, True]}, {"a": [1.0, 2, None, True]})
    assert not same([True], [1])
    assert not same({"a": "é"}, {"a": "e\u0301"})
    assert not same(["1"], [1])
    assert not same([], {})


def test_a_string_that_is_changed_or_lost_is_noticed() -> None:
    strings = naughty_strings()
    assert len(strings) == 515
    assert strings.count("") == 1
    trips = Trips()
    trips.compare("whole", strings, strings)
    assert (trips.same["whole"], trips.changed) == (515, [])
    trips.compare("changed", ["a", "ﬁ"], ["a", "fi"])
    trips.compare("lost", ["a", "b"], ["a"])
    assert trips.changed == ["changed: 'ﬁ' became 'fi'", "lost: 1 of 2 came"]
