"""The measurement of joins runs, at a tiny size: its figures mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 120
STEPS = 15


def test_it_measures_every_step_up_to_the_storm(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    sizes = ["--people", "12", "--newcomers", "3", "--returning", "2", "--messages", "12", "--asked", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.joins", "--store", "sqlite", *sizes, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(file.read_text())["stores"]["sqlite"]
    assert len(figures) == STEPS
    assert all(each["seconds"] > 0 for each in figures.values())
    assert figures["storm: back in 2 rooms each"]["count"] == 12
