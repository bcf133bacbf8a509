"""The benchmark of the transport runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.costs import PER_SECOND
from benchmarks.dialects import Plain
from benchmarks.peers import processes
from benchmarks.results import AIMS, OURS, Result, medians, table_of
from benchmarks.slow_reader import CLOSE_CODE, MEMORY
from benchmarks.slow_reader import P99 as DELIVERY_P99
from benchmarks.small_rooms import FIGURES
from benchmarks.talk import Echoing
from benchmarks.transport import FULL
from benchmarks.under_load import HASHED, HEARD, LOADS, REFUSED
from benchmarks.under_load import P99 as ROUND_TRIP_P99
from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def measured(run_benchmark: RunBenchmark, folder: Path, *topics: str) -> dict[str, Any]:
    """The figures of a toy run for some topics."""
    file = folder / "figures.json"
    only = [word for topic in topics for word in ("--only", topic)]
    printed = run_benchmark("transport", "--quick", *only, "--json", file)
    results = {result["figure"]: result for result in json.loads(file.read_text())["results"]}
    for figure in results:
        assert figure.split(",")[0] in printed
    return results


def test_it_measures_the_gateway_and_every_peer_that_is_here_and_writes_its_figures(
    tmp_path: Path, run_benchmark: RunBenchmark
) -> None:
    results = measured(run_benchmark, tmp_path, "delivery")
    assert len(results) == 3
    here = {peer.name for peer in processes.peers()[0]} - {processes.BARE.name}
    assert results[PER_SECOND]["medians"].keys() == {OURS} | here
    assert results[PER_SECOND]["aims"] == {OURS: "≥ 500,000"}
    assert all(value > 0 for result in results.values() for value in result["medians"].values())


def test_it_measures_rooms_of_few_members_beside_peers_that_check_the_same_tokens(
    tmp_path: Path, run_benchmark: RunBenchmark
) -> None:
    results = measured(run_benchmark, tmp_path, "small-rooms")
    here = {peer.name for peer in processes.room_peers([], None)[0]}
    assert list(results) == [FIGURES[2], FIGURES[10]]
    for result in results.values():
        assert result["medians"].keys() == {OURS} | here
        assert all(value > 0 for value in result["medians"].values())


def test_it_measures_how_the_gateway_bears_load_and_a_client_that_does_not_read(
    tmp_path: Path, run_benchmark: RunBenchmark
) -> None:
    results = measured(run_benchmark, tmp_path, "load", "slow-reader")
    for load in LOADS:
        assert results[f"{ROUND_TRIP_P99} {load}"]["ratios"]["unloaded"] > 0
    assert results[HEARD]["medians"][OURS] > 0
    assert results[HASHED]["medians"][OURS] > 0
    assert results[REFUSED]["medians"][OURS] >= 0
    assert results[DELIVERY_P99]["medians"].keys() == {OURS, "all read"}
    assert results[MEMORY]["medians"]["limit of an outbox"] == 1024
    # Missing if this machine was so busy that the gateway did not wait for it to read on.
    assert results.get(CLOSE_CODE, {"medians": {OURS: 4508}})["medians"] == {OURS: 4508}


def test_peers_that_are_not_installed_are_left_out_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found, words = processes.peers()
    assert {"bare ASGI", "tutorial"} <= {peer.name for peer in found}
    assert "Node ws is left out: there is no `node` on the PATH" in words
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\n")
    node.chmod(0o755)
    monkeypatch.setenv("NODE_PATH", "")
    monkeypatch.setattr(processes, "NODE_PACKAGES", tmp_path / "node_modules")
    assert any("`npm install --prefix data/peers ws socket.io`" in line for line in processes.peers()[1])
    package = tmp_path / "node_modules" / "ws" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text('{"version": "8.0.0"}')
    with_rooms, words = processes.room_peers([], None)
    assert words == [
        "Node ws 8.0.0",
        "Node socket.io is left out: it is not installed; `npm install --prefix data/peers ws socket.io` does that",
        "Centrifugo is left out: `--centrifugo` names no binary",
    ]
    assert [peer.name for peer in with_rooms] == ["tutorial", "Node ws"]
    found = processes.peers()[0]
    assert found[-1].environment["NODE_PATH"] == str(tmp_path / "node_modules")


def test_a_ratio_is_the_gateways_figure_by_the_peers() -> None:
    result = Result("µs a thing", {"gateway": 10.0, "tutorial": 20.0, "idle": 0.0})
    assert result.ratios == {"tutorial": 0.5}
    assert table_of([result], "The transport").row_count == 3


def test_a_figure_is_the_median_of_its_rounds() -> None:
    rounds = [{"µs a thing": {"gateway": value}} for value in (1.0, 9.0, 2.0)]
    assert medians(rounds) == [Result("µs a thing", {"gateway": 2.0})]


def test_every_aim_is_of_a_figure_that_is_measured() -> None:
    assert {name for _, name in AIMS} <= {OURS, "bare ASGI", "tutorial", "Node ws", "unloaded", "all read"}


@pytest.mark.parametrize(("files", "idle"), [(20_000, 10_000), (6000, 4800)])
def test_what_is_opened_fits_into_the_limit_of_open_files(files: int, idle: int) -> None:
    assert FULL.within(files).idle == idle
    fitted = FULL.within(files, servers=7)
    assert fitted.listening == min(1000, (files - 1000) // 7)
    assert fitted.small_rooms * 12 <= (files - 1000) // 7


async def test_an_answer_to_something_else_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="not what was sent"):
        Echoing(Plain(1)).take(b'{"type":"error","id":0}')
