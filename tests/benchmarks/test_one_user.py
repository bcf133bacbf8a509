"""The measurement of one user's cost runs, at a tiny size: its figures mean nothing here."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

pytestmark = pytest.mark.server


def test_it_plays_a_load_and_measures_what_it_takes(tmp_path: Path, run_benchmark: RunBenchmark) -> None:
    file = tmp_path / "figures.json"
    sizes = ("--members", 20, "--warm", 0.2, "--seconds", 0.5, "--only", "one member of a crowd")
    run_benchmark("one_user", *sizes, "--json", file)
    assert json.loads(file.read_text())["one member of a crowd"]["answered"] > 0
