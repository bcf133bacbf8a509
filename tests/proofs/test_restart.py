"""The proof of restarts fails where a bar is missed. CI runs the proof itself."""

from dataclasses import replace

import pytest

from proofs.clients import Returns
from proofs.restart import Returned, bars_of

FINE = Returned(count=1300, longest=1.8, seconds=9.0, attempts=[0, 120, 130, 250])


def missed(*returns: Returned, **counts: int) -> list[str]:
    return [bar.what for bar in bars_of("it", returns, counts) if not bar.passed]


def test_all_bars_are_passed_by_a_short_and_even_restart() -> None:
    assert missed(FINE, acknowledged=1000, heard=10_000) == []


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"count": 999}, "it: clients that move"),
        ({"longest": 5.1}, "it: the longest until one is back"),
        ({"attempts": [301]}, "it: most that come within 0.25 s"),
    ],
)
def test_a_slow_or_crowded_restart_misses_a_bar(wrong: dict[str, int], what: str) -> None:
    assert missed(replace(FINE, **wrong)) == [what]  # type: ignore[arg-type]


def test_a_bar_of_time_is_that_of_the_last_measurement() -> None:
    assert missed(replace(FINE, longest=9.0), FINE) == []
    assert "(measurement 2)" in bars_of("it", [FINE, FINE], {})[1].found


@pytest.mark.parametrize("count", ["lost", "unanswered", "doubled", "lost connections", "not back", "refused messages"])
def test_no_count_is_forgiven(count: str) -> None:
    assert len(missed(FINE, FINE, **{count.replace(" ", "_"): 1} | {count: 1})) == 1


def test_a_record_of_returns_has_the_longest_and_the_last() -> None:
    returns = Returns(began=100.0, away=2)
    returns.note(90.0)
    assert (returns.away, returns.count) == (1, 1)
    assert returns.longest > 0
    assert returns.summary()["attempts"] == []
