"""`gateway …` in a process of its own, within milliseconds: a fork of one that has imported the gateway already.

It is as a new process in its streams, signals, session, folder, variables and exit status. Python itself has started
before, with the launcher: a command with other variables of Python needs a new process. So does a test of a start.
"""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.network import HERE, Machine

ROOT = Path(__file__).parents[2]
LAUNCHER = Path(__file__).with_name("launcher.py")
WAIT_SECONDS = 60

OF_PYTHON = ("LANG", "LC_", "PYTHON")
"""The beginnings of the variables that the start of Python reads."""


def can_fork(variables: Mapping[str, str]) -> bool:
    """Return whether a fork with these variables is as a new process is."""
    return hasattr(os, "pidfd_open") and _of_python(variables) == _of_python(_launcher().variables)


def _of_python(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(OF_PYTHON)}


class _Launcher:
    """The process that forks."""

    def __init__(self) -> None:
        # Without compiled modules, each new process would compile all of them again.
        self.variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._control, theirs = socket.socketpair()
        self._one_by_one = threading.Lock()
        command = (sys.executable, "-P", str(LAUNCHER))
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), cwd=ROOT, env=self.variables)

    def ask(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Request a process with these streams, and with a socket for its pid and its exit status."""
        line = json.dumps(request).encode() + b"\n"
        with self._one_by_one:
            sent = socket.send_fds(self._control, [line], descriptors)
            self._control.sendall(line[sent:])

    def end(self) -> None:
        """End it."""
        self._control.close()
        self._process.wait(WAIT_SECONDS)


@cache
def _launcher() -> _Launcher:
    launcher = _Launcher()
    atexit.register(launcher.end)
    return launcher


class Forked(subprocess.Popen[bytes]):
    """A process as `subprocess.Popen` starts it, of `gateway` with the arguments of a shell."""

    def __init__(self, *arguments: str, terminal: str = "", machine: Machine = HERE, **options: Any) -> None:
        """With the name of a `terminal`, it reads and writes there, and a new session has it as its own."""
        self._terminal = terminal
        super().__init__(arguments, **options)

    def _execute_child(self, arguments: Sequence[str], *given: Any) -> None:
        """Ask the launcher for a process, where `Popen` would fork."""
        cwd, variables, pipes, new_session = given[4], given[5], given[9:15], given[-2]
        request = {
            "arguments": arguments,
            "folder": str(cwd),
            "variables": variables,
            "new_session": new_session,
            "terminal": self._terminal,
        }
        streams = [end if end >= 0 else number for number, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        ours, theirs = socket.socketpair()
        with theirs:
            _launcher().ask(request, [*streams, theirs.fileno()])
        self._answers = ours.makefile("r")
        ours.close()
        self.pid = int(self._answers.readline())
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined] # which Popen's own one closes too

    def _internal_poll(self, **_: object) -> int | None:
        """Look whether it has ended. `poll`, `send_signal` and the end of this object use this."""
        with self._waitpid_lock:  # type: ignore[attr-defined] # as Popen's own one does
            if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
                self.returncode = int(self._answers.readline())
                self._answers.close()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        """Wait for its end. `wait` and `communicate` use this."""
        if self.returncode is None:
            select.select([self._answers], [], [], timeout)
        status = self._internal_poll()
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status
