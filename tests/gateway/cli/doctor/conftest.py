"""A subject for each test, and what a check has found."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.doctor.checks import CHECKS
from gateway.cli.doctor.examination import Result, examine
from gateway.cli.doctor.findings import Finding, Verdict
from gateway.cli.doctor.subject import Subject
from gateway.config.settings import Settings
from gateway.core.start_error import StartError

GOOD_SECRET = "q8Yb3vRk1Zt6Wn9Xc2Lm5Pf7Hd4Jg0Sa"

Look = Callable[..., list[Finding]]


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Return the settings of a gateway in production, as its operator would have them."""
    values = {"environment": "production", "data_dir": folder / "data", "secret_key": GOOD_SECRET} | changes
    return Settings(_env_file=None, **values)  # type: ignore[arg-type,call-arg]


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Run one check on a gateway in an empty folder, with changes of its settings, and return the findings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)

    def look(check: str, *, environ: Any = None, subject: Any = None, **changes: Any) -> list[Finding]:
        made = Subject(settings_for(tmp_path, **changes), environ or {}, **(subject or {}))
        [result] = asyncio.run(examine(made, checks={check: CHECKS[check]}))
        return list(result.findings)

    return look


def worst(findings: list[Finding]) -> Verdict:
    """Return the worst verdict."""
    return Result("", tuple(findings)).verdict


def bad(findings: list[Finding]) -> Finding:
    """Return the one finding that is not ok. It names a line to change."""
    [found] = [each for each in findings if each.verdict is not Verdict.OK]
    assert found.change
    return found


__all__ = ["GOOD_SECRET", "Look", "StartError", "bad", "settings_for", "worst"]
