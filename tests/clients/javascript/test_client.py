"""The JavaScript client in Node: against a server that misbehaves, and against a live gateway."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.node import node

HERE = Path(__file__).parent
MISBEHAVING = ("connecting", "tokens", "calls", "rooms", "room-view", "waking")
WAIT_SECONDS = 60

pytestmark = pytest.mark.server


def run_cases(*names: str, **environment: str) -> None:
    """Run these files of cases in one process of Node, and fail with what it prints."""
    command = [node(), "--test", "--test-isolation=none", *(f"{name}.test.mjs" for name in names)]
    done = subprocess.run(
        command, cwd=HERE, env=os.environ | environment, capture_output=True, text=True, timeout=WAIT_SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr).partition("failing tests")[2] or done.stdout + done.stderr


def test_no_server_can_confuse_it() -> None:
    run_cases(*MISBEHAVING)


def test_every_file_of_cases_is_run() -> None:
    assert {path.name.removesuffix(".test.mjs") for path in HERE.glob("*.test.mjs")} == {*MISBEHAVING}
