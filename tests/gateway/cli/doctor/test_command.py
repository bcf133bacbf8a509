"""`gateway doctor` as an operator runs it: in words, as JSON, with its exit status, and never for ever."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.doctor.checks import CHECKS, Check
from gateway.cli.doctor.examination import Result, examine
from gateway.cli.doctor.findings import Finding, ok, problem, warning
from gateway.cli.doctor.report import show
from gateway.cli.doctor.subject import Subject
from tests.gateway.cli.doctor.conftest import GOOD_SECRET, Look, settings_for

DOCUMENT = Path(__file__).parents[4] / "docs/operations.md"


async def test_checks_that_hang_or_fail_keep_none_of_the_others(tmp_path: Path) -> None:
    def sleeping(_: Subject) -> Iterator[Finding]:
        time.sleep(3)
        yield ok("late")

    async def waiting(_: Subject) -> AsyncIterator[Finding]:
        await asyncio.Event().wait()
        yield ok("never")

    def broken(_: Subject) -> Iterator[Finding]:
        yield ok("a beginning")
        raise ZeroDivisionError("with a-secret in its words")

    checks: dict[str, Check] = {
        "sleeping": sleeping,
        "waiting": waiting,
        "broken": broken,
        "fine": lambda _: [ok("fine")],
    }
    began = time.monotonic()
    results = await examine(Subject(settings_for(tmp_path)), checks=checks, seconds=0.2)
    assert time.monotonic() - began < 2
    assert [result.verdict for result in results] == ["warning", "warning", "warning", "ok"]
    assert "secret" not in str(results)


async def test_no_finding_quotes_a_token(tmp_path: Path) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYXJvbCJ9.c2ln"
    [result] = await examine(
        Subject(settings_for(tmp_path)), checks={"x": lambda _: [problem(f"the server said {token}", "…")]}
    )
    assert token not in str(result)


@pytest.mark.server
def test_the_exit_status_says_whether_something_is_to_be_done(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner().invoke
    monkeypatch.setenv("GATEWAY_ENVIRONMENT", "production")
    monkeypatch.setenv("GATEWAY_SECRET_KEY", GOOD_SECRET)
    assert run(app, ["doctor"]).exit_code == 0
    monkeypatch.setenv("GATEWAY_REGISTRATION", "open")  # a warning
    assert run(app, ["doctor"]).exit_code == 0
    assert run(app, ["doctor", "--strict"]).exit_code == 1
    assert run(app, ["doctor", "--host", "0.0.0.0"]).exit_code == 1
    done = run(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["verdict"]) == (0, "warning")
    assert [each["check"] for each in found["checks"]] == list(CHECKS)
    [exposed] = [each for each in found["checks"] if each["check"] == "exposure"]
    assert exposed["findings"] == [
        {"verdict": "warning", "found": "anyone may register in production", "change": "GATEWAY_REGISTRATION=closed"}
    ]
    assert GOOD_SECRET not in done.stdout
    assert list(Path().iterdir()) == []  # nothing was made


@pytest.mark.server
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "a-short-secret"),
        ("DATABASE_URL", "postgres//a-secret"),
        ("BUS_URL", "redis://:a-secret@"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TOKEN_MINUTES", "a-secret"),
        ("ALLOWED_ORIGINS", "*"),
        ("METRICS_TOKEN", "a-secret"),
    ],
)
def test_wrong_settings_are_problems(look: Look, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)["checks"][0]["findings"][0]
    assert found["found"].startswith(f"GATEWAY_{name}: ")
    assert found["change"] == f"GATEWAY_{name}=…"
    assert "a-secret" not in done.stdout


@pytest.mark.server
def test_the_document_shows_what_the_command_prints(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        f"GATEWAY_ENVIRONMENT=production\nGATEWAY_SECRET_KEY={GOOD_SECRET}\n"
        "GATEWAY_ALLOWED_ORIGINS=http://app.example.com\nGATEWAY_TOKEN_MINUTE=5\n"
    )
    Path(".env").chmod(0o644)
    monkeypatch.setenv("COLUMNS", "200")  # no path is too long for its line
    monkeypatch.setattr("gateway.cli.doctor.machine.memory_limit", lambda: 2048 * 1024**2)
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 524288))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    shown = done.stdout.replace(str(Path().absolute()), "/srv/chat")
    document = DOCUMENT.read_text()
    sample = document[document.index("```\n✓ python") + 4 :]
    assert _without_figures(shown) == _without_figures(sample[: sample.index("```")])


def _without_figures(text: str) -> str:
    """Return lines without what differs from machine to machine."""
    text = re.sub(r"\d+(\.\d+)* GB of \d+(\.\d+)* GB", "N GB of N GB", text)
    text = re.sub(r"Python is [\w.]+, and json-gateway is [\w.]+", "Python is N, and json-gateway is N", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def test_long_findings_are_wrapped_and_lines_to_change_stay_whole() -> None:
    console = Console(file=StringIO(), width=60)
    change = "GATEWAY_X=" + "x" * 100
    show(
        [Result("a check", (warning("a sentence of many words " * 5, change), ok("another"))), Result("b", ())], console
    )
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(len(line) for line in lines if "GATEWAY_X" not in line) <= 60
    assert any(line.endswith(change) for line in lines)
    assert lines[-1] == "0 problems, 1 warning, 1 check without either"
