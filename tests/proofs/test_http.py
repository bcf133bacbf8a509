"""What schemathesis has found misses the bar, and so does a run that found nothing out."""

import json
from pathlib import Path
from typing import Any

from proofs.bar import Scale
from proofs.http.runs import Client, _chosen, bars_of, run_of


def outcome(file: Path, *, generated: int = 9, **found: Any) -> Path:
    whole = {"operations": {"tested": 3}, "test_cases": {"generated": generated}, "failures": [], "errors": []}
    file.write_text(json.dumps(whole | found))
    return file


def test_a_run_without_failures_passes(tmp_path: Path) -> None:
    run = run_of("a user", "development", outcome(tmp_path / "a.json"), "", 0)
    (bar,) = bars_of([run])
    assert bar.passed
    assert bar.found == "0 of 9 requests to 3 operations"
    assert "a user (development)" in bar.what


def test_a_failure_an_error_and_an_outcome_that_is_missing_miss_the_bar(tmp_path: Path) -> None:
    runs = [
        run_of("a", "development", outcome(tmp_path / "a.json", failures=[{"code": "500"}]), "", 1),
        run_of("b", "development", outcome(tmp_path / "b.json", errors=[{"title": "no schema"}]), "", 1),
        run_of("c", "development", outcome(tmp_path / "c.json"), "it broke", 2),
        run_of("d", "development", tmp_path / "d.json", "it did not end in time", None),
        run_of("e", "development", outcome(tmp_path / "e.json", generated=0), "", 0),
    ]
    assert [bar.passed for bar in bars_of(runs)] == [False] * 5
    assert "it broke" in runs[2].failures[0]
    assert "it did not end in time" in runs[3].failures[0]


def test_the_short_form_has_each_kind_of_client_and_the_full_one_has_all() -> None:
    clients = [Client(str(number), None, "^/") for number in range(9)]
    assert _chosen(Scale.FULL, "production", clients) == clients
    assert _chosen(Scale.SHORT, "development", clients) == clients[:4]
    assert _chosen(Scale.SHORT, "production", clients) == clients[3:4]
