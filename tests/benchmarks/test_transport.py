"""The benchmark of the transport runs, at the size of a toy: its figures mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.transport import FULL, Echoing, Result, table_of

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 120


def test_it_measures_the_gateway_and_its_peers_and_writes_its_figures(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.transport", "--quick"]
    done = subprocess.run(
        [*command, "--only", "delivery", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "deliveries a second" in done.stdout
    results = {result["figure"]: result for result in json.loads(file.read_text())["results"]}
    assert len(results) == 3
    assert results["deliveries a second, ten senders"]["medians"].keys() >= {"gateway", "tutorial"}
    assert all(value > 0 for result in results.values() for value in result["medians"].values())


def test_a_ratio_is_the_gateways_figure_by_the_peers() -> None:
    result = Result("µs a thing", {"gateway": 10.0, "tutorial": 20.0, "idle": 0.0})
    assert result.ratios == {"tutorial": 0.5}
    assert table_of([result], "notes").row_count == 1


@pytest.mark.parametrize(("files", "idle"), [(20_000, 5000), (6000, 2300)])
def test_what_is_opened_fits_into_the_limit_of_open_files(files: int, idle: int) -> None:
    assert FULL.within(files).idle == idle


async def test_an_answer_to_something_else_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="not what was sent"):
        Echoing().take(b'{"type":"error","id":0}')
