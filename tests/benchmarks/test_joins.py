"""The measurement of joins runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server

STEPS = 18


def test_it_measures_every_step_up_to_the_storm(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--people", 12, "--newcomers", 3, "--returning", 2, "--many", 4, "--messages", 12, "--asked", 2)
    run_benchmark("joins", "--store", "sqlite", *sizes, "--json", file)
    figures = json.loads(file.read_text())["stores"]["sqlite"]
    assert len(figures) == STEPS
    assert all(each["seconds"] > 0 for each in figures.values())
    assert figures["storm: back in 2 rooms each"]["count"] == 12
