"""A process that has imported the gateway, and forks for each command `gateway …` of a test: see `forked`.

It reads requests from its standard input, a socket: a line of JSON with the streams of the command and a socket for
its pid and its exit status.
"""

import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import gateway.cli

LATE = ("gateway.app", "alembic.command", "asyncpg", "redis.asyncio", "sqlalchemy.dialects.postgresql.asyncpg")
"""What commands import only when they need it."""

STREAMS = 3
LINE_BYTES = 65536

Request = dict[str, Any]


def import_all() -> None:
    """Import what the commands import, and keep the collector from touching it: a touched page is copied."""
    for module in pkgutil.walk_packages(gateway.cli.__path__, "gateway.cli."):
        importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


class Launcher:
    """The launcher, which forks until its input ends."""

    def __init__(self) -> None:
        self._control = socket.socket(fileno=os.dup(0))
        self._waits = selectors.DefaultSelector()
        self._waits.register(self._control, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, socket.socket]] = {}

    def requested(self) -> Request:
        """Fork for each request, and report each end. Return the request in the fork; exit in the launcher itself."""
        while True:
            for key, _ in self._waits.select():
                if key.fd in self._running:
                    self._report(key.fd)
                elif request := self._fork():
                    return request

    def _fork(self) -> Request | None:
        line, (*streams, asked) = self._received()
        status = socket.socket(fileno=asked)
        pid = os.fork()
        for number, stream in enumerate(streams):
            if not pid:
                os.dup2(stream, number)
            os.close(stream)
        if not pid:
            status.close()
            self._close()
            return json.loads(line)  # type: ignore[no-any-return]
        status.sendall(f"{pid}\n".encode())
        ended = os.pidfd_open(pid)
        self._waits.register(ended, selectors.EVENT_READ)
        self._running[ended] = (pid, status)
        return None

    def _received(self) -> tuple[bytes, list[int]]:
        line, descriptors, _, _ = socket.recv_fds(self._control, LINE_BYTES, STREAMS + 1)
        while line and not line.endswith(b"\n"):
            line += self._control.recv(LINE_BYTES)
        return (line, descriptors) if line else sys.exit()

    def _report(self, ended: int) -> None:
        self._waits.unregister(ended)
        os.close(ended)
        pid, status = self._running.pop(ended)
        _, code = os.waitpid(pid, 0)
        with status, suppress(BrokenPipeError):  # from a test that waits no longer
            status.sendall(f"{os.waitstatus_to_exitcode(code)}\n".encode())

    def _close(self) -> None:
        """Close what belongs to the launcher, in a fork."""
        self._control.close()
        self._waits.close()
        for ended, (_, status) in self._running.items():
            os.close(ended)
            status.close()


def become(request: Request) -> None:
    """Be a new process of this environment, in this folder and with these arguments."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["new_session"]:
        os.setsid()
    if request["terminal"]:
        _take_terminal(request["terminal"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    time.tzset()
    _open_streams()
    sys.path.insert(0, os.getcwd())
    sys.argv[1:] = request["arguments"]
    importlib.invalidate_caches()


def _take_terminal(name: str) -> None:
    """Use a terminal. The first one that a session opens becomes its own."""
    terminal = os.open(name, os.O_RDWR)
    for number in range(STREAMS):
        os.dup2(terminal, number)
    os.close(terminal)


def _open_streams() -> None:
    """Open the standard streams as a start of Python does."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old: Any = getattr(sys, name)
        writes = name != "stdin"
        mode, buffering = "wb" if writes else "rb", 0 if writes and unbuffered else -1
        binary = open(number, mode, buffering, closefd=False)  # noqa: SIM115 - for the life of this process
        by_lines = not unbuffered and (name == "stderr" or binary.isatty())
        through = writes and unbuffered
        stream = io.TextIOWrapper(binary, old.encoding, old.errors, line_buffering=by_lines, write_through=through)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_all()
    become(Launcher().requested())
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)
