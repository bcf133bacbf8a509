"""The measurement of one user's cost runs, at a tiny size: its figures mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 60


def test_it_plays_a_load_and_measures_what_it_takes(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    sizes = ["--members", "20", "--warm", "0.2", "--seconds", "0.5", "--only", "one member of a crowd"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.one_user", *sizes, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(file.read_text())["one member of a crowd"]["answered"] > 0
