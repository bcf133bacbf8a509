"""A fork of the launcher is as a new process: both answer, end and are waited for alike."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cli.command import WAIT_SECONDS, environment, words
from tests.support.forked import Forked, can_fork

pytestmark = pytest.mark.server

Start = Callable[..., subprocess.Popen[bytes]]

REGISTRY = """
import os, signal, sys
sys.stdout.write("not flushed")
print(os.getcwd(), sys.path[0], sys.argv[1:], sys.stdin.read(), sys.modules["__main__"].__spec__.name)
print(os.environ["MINE"], "THEIRS" in os.environ, os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGINT).__name__)
print(sys.stdout.line_buffering, sys.stdout.encoding, sys.stderr.errors, os.listdir("/proc/self/fd"))
sys.exit("this is all")
"""
"""An application that says what it sees, and ends."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `gateway …`, by a class of processes, and end it after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(kind: type[Forked] | None, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        options: dict[str, Any] = {"cwd": tmp_path, "env": environment(tmp_path, **variables), **pipes}
        options["start_new_session"] = True
        process = kind(*arguments, **options) if kind else subprocess.Popen(words(*arguments), **options)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=WAIT_SECONDS)


def test_an_application_sees_no_difference(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(REGISTRY)
    monkeypatch.delenv("THEIRS", raising=False)
    command = ("serve", "--app", "mine:app", "--port", "0", "--log-level", "warning")
    processes = [start(kind, *command, MINE="yes") for kind in (None, Forked)]
    monkeypatch.setenv("THEIRS", "of the test")
    new, forked = [(process.communicate(b"typed", WAIT_SECONDS), process.returncode) for process in processes]
    assert new == forked
    (out, err), status = forked
    assert (status, b"not flushed" in out, b"typed" in out, b"this is all" in err) == (1, True, True, True), forked


@pytest.mark.parametrize("arguments", [("--version",), ("nonsense",), ("users", "list"), ("users", "add")])
def test_a_command_answers_and_ends_alike(start: Start, arguments: tuple[str, ...]) -> None:
    processes = [start(kind, *arguments) for kind in (None, Forked)]
    new, forked = [(process.communicate(b"", WAIT_SECONDS), process.returncode) for process in processes]
    assert new == forked


def test_a_signal_ends_it_and_its_end_is_told(start: Start) -> None:
    served = start(Forked, "serve", "--port", "0")
    assert served.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        served.wait(0.01)
    served.kill()
    assert (served.wait(WAIT_SECONDS), served.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
    with pytest.raises(ProcessLookupError):
        os.kill(served.pid, 0)


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONSAFEPATH", "LC_ALL"])
def test_what_the_start_of_python_reads_needs_a_new_process(variable: str, tmp_path: Path) -> None:
    variables = environment(tmp_path)
    assert can_fork(variables)
    assert not can_fork(variables | {variable: "x"})
