"""The command itself: what it offers, and that each command starts quickly because it imports only what it needs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.cli import COMMANDS
from tests.gateway.cli.command import WAIT_SECONDS, environment
from tests.gateway.cli.conftest import RunHere
from tests.support.child import children_of
from tests.support.lacking import lacking, program

pytestmark = pytest.mark.server

PROGRAM = """
import sys
from gateway.cli import main
try:
    main()
except SystemExit as exit:
    assert not exit.code, exit.code
print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def imports(folder: Path, *arguments: str) -> set[str]:
    """Return the packages that a command imports."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(folder),
        timeout=WAIT_SECONDS,
        check=True,
    )
    return set(done.stdout.rpartition("imported: ")[2].split())


def test_the_help_lists_every_command(tmp_path: Path, run_here: RunHere) -> None:
    listed = run_here(tmp_path, "--help")
    assert listed.status == 0
    for name in COMMANDS:
        assert f"│ {name} " in listed.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, tmp_path: Path, run_here: RunHere) -> None:
    explained = run_here(tmp_path, name, "--help")
    assert explained.status == 0
    assert f"Usage: gateway {name} " in explained.out


def test_a_command_that_is_misspelt_is_suggested(tmp_path: Path, run_here: RunHere) -> None:
    refused = run_here(tmp_path, "user", "list")
    assert refused.status == 2
    assert "No such command 'user'. Did you mean 'users'" in refused.err


def test_the_version_needs_no_other_package_than_the_command_line_s(tmp_path: Path) -> None:
    assert not imports(tmp_path, "--version") & {"alembic", "cryptography", "fastapi", "sqlalchemy", "uvicorn"}


def test_a_command_on_a_store_that_is_up_to_date_brings_neither_the_server_nor_the_migrations(
    tmp_path: Path, run_here: RunHere
) -> None:
    assert run_here(tmp_path, "db", "upgrade").status == 0
    found = imports(tmp_path, "users", "list")
    assert "sqlalchemy" in found
    assert not found & {"alembic", "asyncpg", "fastapi", "httpx2", "redis", "uvicorn"}


def test_sigterm_ends_a_command_that_is_the_first_process_of_a_container(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        lacking("needs root, for a first process of its own")
    isolated = [program("unshare", "util-linux"), "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*isolated, sys.executable, "-m", "gateway", "users", "add", "alice"]
    # It waits for the password, which never comes.
    with subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stdin=subprocess.PIPE) as process:
        until = time.monotonic() + WAIT_SECONDS
        while process.poll() is None and time.monotonic() < until:
            for child in children_of(process.pid):
                os.kill(child, signal.SIGTERM)
            time.sleep(0.05)
        ended = process.poll()
        process.kill()
    assert ended == 128 + signal.SIGTERM
