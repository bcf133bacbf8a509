"""The benchmark of durable sends runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from benchmarks.durable import Sample, places
from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_measures_and_writes_its_figures(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--senders", 1, "--senders", 5, "--rooms", 1, "--rooms", 3, "--seconds", 0.25, "--warm-up", 0.1)
    assert "Durable sends" in run_benchmark("durable", "--store", "sqlite", *sizes, "--json", file)
    results = json.loads(file.read_text())["results"]
    assert [(result["rooms"], result["senders"]) for result in results] == [(1, 1), (1, 5), (3, 1), (3, 5)]
    for result in results:
        assert result["gateway"]["per_second"] > 0
        assert result["tutorial"]["per_second"] > 0
        assert result["commits"] > 0


@pytest.mark.parametrize("senders", [1, 3, 10, 25])
def test_rooms_are_shared_out_so_that_each_is_used(senders: int) -> None:
    shared = places(senders, 10)
    assert len(shared) == senders
    assert all(shared)
    assert {name for names in shared for name in names} == {f"room-{number}" for number in range(10)}


def test_a_sample_counts_only_while_it_is_taken() -> None:
    sample = Sample()
    sample.add(0.0)
    assert sample.seconds == []
