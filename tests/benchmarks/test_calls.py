"""The comparison of a message over HTTP and on a socket runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_measures_both_ways(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    printed = run_benchmark("calls", "--users", 2, "--seconds", 0.2, "--rounds", 1, "--json", file)
    assert "chat.send" in printed
    costs = json.loads(file.read_text())["costs"]
    ways = [(kind, way) for kind in ("echo", "chat.send") for way in ("socket", "/call")]
    assert [(cost["type"], cost["way"]) for cost in costs] == ways
    assert all(cost["cpu"] > 0 for cost in costs)
