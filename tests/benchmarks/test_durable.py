"""The benchmark of durable sends runs, at a tiny size: its figures mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.durable import Sample, places

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 120


def test_it_measures_and_writes_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    sizes = ["--senders", "1", "--senders", "5", "--rooms", "1", "--rooms", "3", "--seconds", "1", "--warm-up", "0.2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.durable", "--store", "sqlite", *sizes, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "Durable sends" in done.stdout
    results = json.loads(file.read_text())["results"]
    assert [(result["rooms"], result["senders"]) for result in results] == [(1, 1), (1, 5), (3, 1), (3, 5)]
    assert all(result["per_second"] > 0 and result["plain_per_second"] > 0 for result in results)


@pytest.mark.parametrize("senders", [1, 3, 10, 25])
def test_rooms_are_shared_out_so_that_each_is_used(senders: int) -> None:
    shared = places(senders, 10)
    assert len(shared) == senders
    assert all(shared)
    assert {name for names in shared for name in names} == {f"room-{number}" for number in range(10)}


def test_a_sample_counts_only_while_it_is_taken() -> None:
    sample = Sample()
    sample.add(0.0)
    assert sample.seconds == []
