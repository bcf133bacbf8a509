"""The measurement of storms runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_measures_those_that_are_there_before_and_beside_a_storm(
    tmp_path: Path, run_benchmark: RunBenchmark
) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--people", 12, "--rooms", 2, "--seconds", 0.2, "--rounds", 1)
    printed = run_benchmark("storm", "--store", "sqlite", *sizes, "--json", file)
    assert "ping, unloaded, ms" in printed
    measured = json.loads(file.read_text())["stores"]["sqlite"]
    assert measured["echo"]["unloaded"]["ping"][0] > 0
    [storm] = measured["storms"]
    assert (storm["seconds"] > 0, storm["refusals"]) == (True, {})
