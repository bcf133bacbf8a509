"""The measurement of joins runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from benchmarks.join_steps import JOIN, ME, REFUSED, RESUMES, STORM, WAITED
from benchmarks.joins import AIMS, NAMES
from benchmarks.peers import processes
from benchmarks.results import OURS
from benchmarks.rig import StoreKind
from benchmarks.room_dialects import Centrifugo, Position, SocketIORooms, View
from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_measures_every_step_beside_the_peers_that_are_here(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--people", 12, "--newcomers", 3, "--returning", 2, "--messages", 12, "--asked", 2)
    run_benchmark("joins", "--store", "sqlite", *sizes, "--rounds", 1, "--rest", 0.02, "--json", file)
    results = {result["figure"]: result["medians"] for result in json.loads(file.read_text())["results"]}
    here = {OURS} | {peer.name for peer in processes.room_peers([], None)[0]}
    assert results[JOIN].keys() == results[STORM].keys() == here
    assert results[RESUMES].keys() == {OURS}
    assert results[ME].keys() == {OURS, "tutorial"}
    assert {*results.pop(WAITED).values(), *results.pop(REFUSED).values()} == {0}
    assert all(value > 0 for medians in results.values() for value in medians.values())
    assert {figure for figure, _ in AIMS} - {REFUSED} <= results.keys()
    assert {server for _, server in AIMS} <= set(NAMES.values())
    assert set(NAMES) == set(StoreKind)


def test_answers_of_centrifugo_may_share_a_text_with_others() -> None:
    centrifugo = Centrifugo(1, [])
    first, second = centrifugo.answers(
        b'{"id":11,"subscribe":{"epoch":"e","offset":3,"publications":[{"data":1},{"data":2}]}}\n{}\n'
        b'{"push":{"channel":"a","pub":{"data":1}}}\n{"id":12,"error":{"code":105}}'
    )
    assert [first[0], second[0]] == [11, 12]
    assert centrifugo.view(first[1]) == View(Position("e", 3), 2)
    with pytest.raises(RuntimeError, match="105"):
        centrifugo.view(second[1])


def test_an_acknowledgement_of_socket_io_is_an_answer_and_an_event_is_none() -> None:
    socket_io = SocketIORooms(1, [])
    [(number, answer)] = socket_io.answers(b'4312[{"epoch":"e","offset":1,"messages":[{}]}]')
    assert (number, socket_io.view(answer)) == (12, View(Position("e", 1), 1))
    assert socket_io.answers(b'42["chat.message",{}]') == []
