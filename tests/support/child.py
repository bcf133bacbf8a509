"""A real server as a child process: started, waited for, and stopped at once."""

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.network import HERE, Machine

WAIT_SECONDS = 20


class Child:
    """A server as a child process, on a port of this machine or of one in a network of its own."""

    ends_with = signal.SIGKILL

    def __init__(self, log: Path, port: int | None = None, machine: Machine = HERE) -> None:
        self._log = log
        self.machine = machine
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port or free_port()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it accepts connections."""
        with self._log.open("ab") as log:
            command = [*self.machine.enter, *self._command()]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._options())
        until = time.monotonic() + WAIT_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it at once, like a crash: it sends nothing to its clients, and writes nothing more."""
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(self.ends_with)
            process.wait(WAIT_SECONDS)

    def _command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def _options(self) -> dict[str, Any]:
        """Return the other arguments of `Popen`."""
        return {}

    def _answers(self) -> bool:
        """Return whether it accepts connections."""
        raise NotImplementedError


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that have not ended. Linux only."""
    children = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = file.read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                children.append(int(file.parent.name))
    return children
