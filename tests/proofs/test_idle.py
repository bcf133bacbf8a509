"""The proof of idle sockets runs at a tiny size, and fails where a bar is missed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proofs import idle
from proofs.idle import Idled, bars_of, measure
from proofs.logs import wrong_lines

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
async def test_a_few_sockets_idle_and_all_of_them_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(idle, "SETTLING_SECONDS", 0.4)
    idled = await measure(30, 1, lambda _line: None, warm=10)
    assert (idled.sockets, idled.lost, idled.silent) == (30, 0, 0)
    assert idled.kilobytes
    assert [bar.passed for bar in idled.logs] == [True]
    assert not bars_of(replace(FINE, logs=[wrong_lines("log", _log_with_a_fault(tmp_path))]))[-1].passed


def _log_with_a_fault(folder: Path) -> Path:
    log = folder / "gateway.log"
    log.write_text("2026-11-30 ERROR a fault was contained, and the loop pings continues\n")
    return log
