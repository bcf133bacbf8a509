"""One `gateway serve` for the tests of the other commands, and a quick way to run those."""

import io
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol, cast

import pytest
from rich.console import Console

from gateway.cli import main
from gateway.testing import Gateway
from tests.gateway.cli.command import Result, Served, environment, serving
from tests.support.client import App


class RunHere(Protocol):
    """Run `gateway …` in the test's own process: a new process spends over a second on imports."""

    def __call__(self, folder: Path, *arguments: str, typed: str | bytes = "", **variables: str) -> Result: ...


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A running gateway with all log lines. Its users and rooms have different names in each test."""
    with serving(tmp_path_factory.mktemp("served"), "--log-level", "trace") as served:
        yield served


@pytest.fixture
async def app(served: Served) -> AsyncIterator[App]:
    """An app that uses it."""
    async with App(cast(Gateway, served)) as app:
        yield app


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Run a command only for its outcome."""

    def run(folder: Path, *arguments: str, typed: str | bytes = "", **variables: str) -> Result:
        raw = typed if isinstance(typed, bytes) else typed.encode()
        status: object = 0
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", environment(folder, **variables))
            patch.setattr(Console, "_environ", os.environ)  # that of the first import otherwise
            patch.chdir(folder)
            # `serve` adds a handler, whose stream ends with this test.
            patch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])
            patch.setattr(sys, "path", [*sys.path])
            patch.setattr(sys, "argv", ["gateway", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
            level = logging.getLogger().level
            try:
                main()
            except SystemExit as exit:
                status = exit.code or 0
            finally:
                logging.getLogger().setLevel(level)
        assert isinstance(status, int)
        return Result(status, *capsys.readouterr())

    return run
