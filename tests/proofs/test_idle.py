"""The proof of idle sockets runs at a tiny size, and fails where a bar is missed."""

from dataclasses import replace
from typing import Any

import pytest

from proofs import idle
from proofs.idle import Idled, bars_of, measure

FINE = Idled(sockets=10_000, seconds=3600, kilobytes=[20.1, 23.9], cpu_share=7.5, lost=0, silent=0)


def test_all_bars_are_passed_by_a_gateway_that_keeps_them() -> None:
    assert all(bar.passed for bar in bars_of(FINE))


@pytest.mark.parametrize(
    "wrong",
    [{"kilobytes": [20.0, 24.1, 21.0]}, {"cpu_share": 15.1}, {"lost": 1}, {"silent": 1}, {"sockets": 9999}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_each_bar_can_be_missed(wrong: dict[str, Any]) -> None:
    assert sum(not bar.passed for bar in bars_of(replace(FINE, **wrong))) == 1


@pytest.mark.server
async def test_a_few_sockets_idle_and_all_of_them_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "SETTLING_SECONDS", 0.4)
    idled = await measure(30, 1, lambda _line: None, warm=10)
    assert (idled.sockets, idled.lost, idled.silent) == (30, 0, 0)
    assert idled.kilobytes
