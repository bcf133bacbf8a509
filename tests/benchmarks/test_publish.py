"""The benchmark of publishing runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_measures_and_writes_its_figures(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--listeners", 3, "--senders", 2, "--seconds", 0.25, "--warm-up", 0.1)
    assert "Published to one room" in run_benchmark("publish", *sizes, "--json", file)
    results = json.loads(file.read_text())["results"]
    assert [result["how"] for result in results] == ["publish", "batch of 100", "socket"]
    for result in results:
        assert result["per_second"] > 0
        assert result["delivered_per_second"] > 0
        assert result["cpu"] > 0
