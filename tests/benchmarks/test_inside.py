"""The measurement of the gateway's own code runs, at a tiny size: its figures mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 60


def test_it_measures_a_connection_a_message_a_delivery_and_a_chunk(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    sizes = ["--listening", "70", "--echoing", "2", "--rounds", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.inside", *sizes, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "an echo" in done.stdout
    figures = json.loads(file.read_text())
    assert all(figures[name] > 0 for name in ("connection", "message", "delivery", "chunk", "event"))
