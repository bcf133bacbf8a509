"""What schemathesis has found misses the bar, and so does a run that found nothing out."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from proofs.bar import Scale
from proofs.http.clients import ALL, LEAVER, LISTENER, OF_MESSAGES, OF_SERVICES, OF_SESSIONS, OF_USERS, USER, Client
from proofs.http.clients import chosen as chosen_of
from proofs.http.configurations import RANDOM, STRICT, configuration
from proofs.http.runs import Run, Task, bars_of, known_bar, operations_of, run_of, whole_bar
from tests.support.client import App

OPERATIONS = frozenset({"GET /a", "POST /a", "GET /b"})


def task(name: str = "a user", kind: str = STRICT, *, is_known: bool = True) -> Task:
    return Task("development", Client(name, ALL, is_known=is_known), "examples,coverage", kind, OPERATIONS)


def outcome(
    file: Path, *, generated: int = 9, tested: int = 3, selected: int = 3, stop_reason: str = "completed", **found: Any
) -> Path:
    whole = {
        "operations": {"tested": tested, "selected": selected},
        "test_cases": {"generated": generated},
        "failures": [],
        "errors": [],
        "stop_reason": stop_reason,
    }
    file.write_text(json.dumps(whole | found))
    return file


def test_a_run_without_failures_passes(tmp_path: Path) -> None:
    run = run_of(task(), outcome(tmp_path / "a.json"), "", 0)
    (bar,) = bars_of([run])
    assert bar.passed
    assert bar.found == "0 of 9 requests to 3 operations"
    assert "a user (development: examples and coverage)" in bar.what


def test_a_failure_an_error_and_an_outcome_that_is_missing_miss_the_bar(tmp_path: Path) -> None:
    runs = [
        run_of(task(), outcome(tmp_path / "a.json", failures=[{"code": "500"}]), "", 1),
        run_of(task(), outcome(tmp_path / "b.json", errors=[{"title": "no schema"}]), "", 1),
        run_of(task(), outcome(tmp_path / "c.json"), "it broke", 2),
        run_of(task(), tmp_path / "d.json", "it did not end in time", None),
        run_of(task(), outcome(tmp_path / "e.json", generated=0), "", 0),
    ]
    assert [bar.passed for bar in bars_of(runs)] == [False] * 5
    assert "it broke" in runs[2].failures[0]
    assert "it did not end in time" in runs[3].failures[0]


def test_a_run_that_is_cut_or_leaves_an_operation_out_misses_the_bar(tmp_path: Path) -> None:
    runs = [
        run_of(task(), outcome(tmp_path / "a.json", stop_reason="max_time"), "", 0),
        run_of(task(), outcome(tmp_path / "b.json", tested=2), "", 0),
        run_of(task(), outcome(tmp_path / "c.json", tested=2, selected=2), "", 0),
        run_of(task(), outcome(tmp_path / "d.json", operations=None), "", 0),
        run_of(task(kind=RANDOM), outcome(tmp_path / "e.json", stop_reason="server_unavailable"), "", 0),
    ]
    assert [bar.passed for bar in bars_of(runs)] == [False] * 5


def test_a_random_run_goes_on_until_its_time_is_up(tmp_path: Path) -> None:
    run = run_of(task(kind=RANDOM), outcome(tmp_path / "a.json", stop_reason="max_time", tested=2), "", 0)
    assert bars_of([run])[0].passed


def test_a_credential_that_does_not_hold_at_the_end_misses_the_bar() -> None:
    held, lost = (Run(task("a user"), 3, 9, (), is_known=is_known) for is_known in (True, False))
    stranger = Run(task("anonymous", is_known=False), 3, 9, ())
    assert known_bar([held, stranger]).passed
    assert not known_bar([held, lost]).passed
    assert "a user" in known_bar([lost]).found
    assert not known_bar([stranger]).passed


def test_an_operation_that_no_client_with_a_credential_has_tested_misses_the_bar() -> None:
    run = Run(task(), 3, 9, ())
    assert whole_bar([run], OPERATIONS).passed
    assert not whole_bar([run], OPERATIONS | {"GET /c"}).passed
    assert not whole_bar([replace(run, tested=2)], OPERATIONS).passed
    assert not whole_bar([replace(run, task=task(is_known=False))], OPERATIONS).passed


def test_only_a_client_without_a_good_credential_may_get_401() -> None:
    for kind in (STRICT, RANDOM):
        for is_known in (True, False):
            content = tomllib.loads(configuration(kind, Client("a", ALL, is_known=is_known)))
            assert ("parameters" in content) is is_known
            others = {each["include-path"]: each["checks"] for each in content["operations"]}
            for checks in (content["checks"], others["/call/room.resume"]):
                for statuses in checks.values():
                    assert ("401" in statuses["expected-statuses"]) is not is_known
            assert "401" in others["/token"]["positive_data_acceptance"]["expected-statuses"]


async def test_no_example_names_a_client_and_each_operation_is_one_clients(app: App) -> None:
    document = (await app.http.get("/openapi.json")).text
    assert not [name for name in (USER, LISTENER, LEAVER) if name in document.lower()]
    parts = [operations_of(document, paths) for paths in (OF_MESSAGES, OF_SERVICES, OF_USERS, OF_SESSIONS)]
    assert frozenset().union(*parts) == operations_of(document)
    assert sum(len(part) for part in parts) == len(operations_of(document))
    assert operations_of(document, OF_SESSIONS) >= {"DELETE /users/me/sessions", "PUT /users/me/password"}


def test_the_short_form_has_each_kind_of_client_and_the_full_one_has_all() -> None:
    clients = [Client(str(number), ALL) for number in range(9)]
    assert chosen_of(Scale.FULL, "production", clients) == clients
    assert chosen_of(Scale.SHORT, "development", clients) == clients[:5]
    assert chosen_of(Scale.SHORT, "production", clients) == clients[4:5]
