"""The benchmark of messages that a service answers runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_measures_and_writes_its_figures(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--callers", 2, "--seconds", 0.2, "--rounds", 1)
    assert "Messages that a service answers" in run_benchmark("upstream", *sizes, "--json", file)
    figures = json.loads(file.read_text())
    assert set(figures["turns"]) == {"gateway, over HTTP", "gateway, to a worker", "FastAPI and httpx2"}
    assert all(turn["cpu"] > 0 for turns in figures["turns"].values() for turn in turns)
    assert all(value > 0 for values in figures["echo_p99_ms"].values() for value in values)
