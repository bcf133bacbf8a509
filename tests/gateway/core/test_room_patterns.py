"""Patterns of room names."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.room_patterns import MAX_STARS, RoomPattern, RoomPatterns

few_letters = st.text("ab-", max_size=12)
"""Few different letters, so that parts of a pattern often fit in several places."""


def fits(pattern: str, room: str) -> bool:
    """Say it by the definition: a star is nothing, or one character and a star."""
    if not pattern:
        return not room
    if pattern[0] == "*":
        return fits(pattern[1:], room) or (bool(room) and fits(pattern, room[1:]))
    return bool(room) and pattern[0] == room[0] and fits(pattern[1:], room[1:])


@given(
    st.lists(few_letters.filter(bool), min_size=1, max_size=MAX_STARS + 1), st.booleans(), st.booleans(), few_letters
)
@example(["aba"], False, True, "aba")
@example(["ab", "ba"], False, False, "aba")  # the two ends of a name share no character
def test_a_pattern_fits_what_its_definition_says(parts: list[str], front: bool, back: bool, room: str) -> None:
    text = "*" * front + "*".join(parts) + "*" * back
    assert RoomPattern(text).matches(room) is fits(text, room)
    assert RoomPatterns((RoomPattern("zz"), RoomPattern(text), RoomPattern("z*"))).matches(room) is fits(text, room)


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("*", ["lobby", "a", "dm-0"], []),
        ("news", ["news"], ["new", "newss", "anews"]),
        ("team-*", ["team-", "team-red"], ["team", "a-team-red", "tea-m"]),
        ("*.eu", [".eu", "team.eu"], ["eu", "team.eu2"]),
        ("a*a", ["aa", "aba"], ["a", "ab"]),
        ("a*b*c*d*e", ["abcde", "a1b2c3d4e"], ["abced", "abcd"]),
    ],
)
def test_a_star_stands_for_any_characters_or_none(pattern: str, fitting: list[str], others: list[str]) -> None:
    patterns = RoomPatterns.parse([pattern])
    assert [room for room in fitting + others if patterns.matches(room)] == fitting


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "1 to 64 characters, got 0"),
        ("a" * 65, "1 to 64 characters, got 65"),
        ("**", "one star instead of two"),
        ("team-**", "one star instead of two"),
        ("*a*b*c*d*", "at most 4 stars"),
        ("Team-*", "a-z 0-9"),
        ("-team", "letter, digit or star first"),
        ("team-*\n", "a-z 0-9"),
        ("team?", "a-z 0-9"),
        ("t\u00e9am", "a-z 0-9"),
        ("team/*", "a-z 0-9"),
        ("\x00", "a-z 0-9"),
    ],
)
def test_what_is_no_pattern_is_refused_with_its_reason(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RoomPatterns.parse(["lobby", pattern])


def test_patterns_of_all_kinds_count_together() -> None:
    patterns = RoomPatterns.parse(["news", "team-*", "*-eu", "a*z"])
    fitting = ["news", "team-", "team-red", "x-eu", "-eu", "az", "abcz"]
    others = ["new", "newsy", "tea", "eu", "zba", "lobby"]
    assert [room for room in fitting + others if patterns.matches(room)] == fitting


def test_several_patterns_are_kept_once_and_in_order() -> None:
    patterns = RoomPatterns.parse(["news", "team-*", "news"])
    assert patterns.texts == ("news", "team-*")
    assert patterns.matches("news")
    assert patterns.matches("team-red")
    assert not patterns.matches("lobby")
    assert patterns == RoomPatterns.parse(["news", "team-*"])


def test_no_pattern_fits_no_room() -> None:
    assert not RoomPatterns.parse([]).matches("lobby")


def test_a_pattern_that_nearly_fits_everywhere_takes_no_longer() -> None:
    """A search that tries each place again for each star would need some 64**4 steps for each room."""
    pattern = RoomPattern.parse("*aaaaaaaa*aaaaaaaa*aaaaaaaa*aaaaaaab")
    began = time.perf_counter()
    for _ in range(1000):
        assert not pattern.matches("a" * 64)
    assert time.perf_counter() - began < 1
