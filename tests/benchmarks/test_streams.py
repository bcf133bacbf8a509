"""The benchmark of streams runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_measures_streams_beside_echoes_and_writes_its_figures(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--streams", 5, "--unread", 0, "--rate", 50, "--seconds", 0.2)
    assert "Streams at once" in run_benchmark("streams", *sizes, "--json", file)
    figures = {each["figure"]: each["value"] for each in json.loads(file.read_text())["results"]}
    assert (figures["streams at once"], figures["tokens a second, of all streams"]) == (5, 250)
    assert all(figures[name] > 0 for name in figures if "ms p99" in name)
