"""The proof of restarts fails where a bar is missed. CI runs the proof itself."""

import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from proofs.clients import Connection, Returns, Step
from proofs.restart import CUT, Returned, _all_leaving, bars_of
from tests.proofs.examples import crowd_of

STEPS = [{"lost": 500, "attempts": [120, 130, 150]}, {"lost": 800, "attempts": [240, 0, 200]}]
FINE = Returned(count=1300, longest=1.8, seconds=9.0, steps=STEPS)
CROWDED = [{"lost": 500, "attempts": [1, 151]}, {"lost": 1000, "attempts": [300]}]


def missed(*returns: Returned, **counts: int) -> list[str]:
    return [bar.what for bar in bars_of("it", returns, counts) if not bar.passed]


def test_all_bars_are_passed_by_a_short_and_even_restart() -> None:
    assert missed(FINE, acknowledged=1000, heard=10_000) == []


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"count": 999}, "it: clients that move"),
        ({"longest": 5.1}, "it: the longest until one is back"),
        (
            {"steps": CROWDED},
            "it: most that come within 0.25 s",
        ),
    ],
)
def test_a_slow_or_crowded_restart_misses_a_bar(wrong: dict[str, int], what: str) -> None:
    assert missed(replace(FINE, **wrong)) == [what]  # type: ignore[arg-type]


def test_a_bar_of_time_is_that_of_the_last_measurement() -> None:
    assert missed(replace(FINE, longest=9.0), FINE) == []
    assert "(measurement 2)" in bars_of("it", [FINE, FINE], {})[1].found


@pytest.mark.parametrize("count", ["lost", "unanswered", "doubled", *CUT])
def test_no_count_is_forgiven(count: str) -> None:
    assert len(missed(FINE, FINE, **{count.replace(" ", "_"): 1} | {count: 1})) == 1


def test_a_record_of_returns_has_the_longest_and_the_last() -> None:
    returns = Returns(began=100.0)
    returns.note_loss()
    returns.note_loss()
    returns.note(90.0)
    assert (returns.away, returns.count) == (1, 1)
    assert returns.longest > 0
    assert returns.summary()["steps"] == [{"lost": 2, "attempts": []}]


def test_each_part_of_a_restart_has_its_own_losses_and_connections() -> None:
    returns = Returns(began=time.monotonic())
    returns.note_loss()
    returns.note_attempt()
    returns.steps.append(Step())
    returns.note_loss()
    assert returns.summary()["steps"] == [{"lost": 1, "attempts": [1]}, {"lost": 1, "attempts": []}]


@pytest.mark.server
async def test_a_connection_counts_when_it_is_made_and_not_when_the_client_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = Connection(lambda _: None, lambda _: None, patience=0.2)
        made: list[bool] = []
        with pytest.raises(TimeoutError):
            await connection.open(f"ws://127.0.0.1:{silent.getsockname()[1]}/", lambda: made.append(True))
    assert made == [True]


def test_a_restart_excuses_a_refusal_but_no_error_of_the_server() -> None:
    crowd = crowd_of("ann", restarts=True)
    crowd.excuse("refused connections", "status 503")
    assert not missed(FINE, **crowd.tally.counts)
    crowd.excuse("refused connections", "status 500")
    assert len(missed(FINE, **crowd.tally.counts)) == 1


def test_the_log_of_the_supervisor_names_the_workers_that_leave(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text("INFO worker 12 takes the place of worker 7, which leaves\nINFO all workers are new: 12\n")
    assert _all_leaving(log) == [7]
