"""Several processes that serve one address together, and the one that looks after them.

Each worker is a whole gateway. They know of each other through the bus and the store, as nodes on other machines would.
uvicorn's own supervisor starts uvicorn's own server, and ours has more to do at the end; so this is our own.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from types import FrameType

from gateway.cli.serve import AnnouncingServer, LogLevel, announce, server_config
from gateway.config.bus_url import MEMORY
from gateway.config.settings import Settings, load_settings
from gateway.core.logs import configure_logs
from gateway.core.start_error import StartError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often the workers are looked at, for signals that came meanwhile."""

RESTART_SECONDS = 1.0
"""How long to wait before another worker takes the place of one that has died: it may have had a reason."""

LAST_SECONDS = 5.0
"""How long workers are given beyond what stopping takes, before they are killed."""

_SPAWN = multiprocessing.get_context("spawn")


def check(settings: Settings, workers: int) -> None:
    """Make sure that so many workers can be one gateway, or raise `StartError`."""
    if workers > 1 and settings.bus_url == MEMORY:
        raise StartError(
            f"--workers {workers} needs a bus that they share, or what one is told the others would not know;"
            " add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379"
        )


def run(settings: Settings, app: str, log_level: LogLevel, sock: socket.socket, count: int) -> None:
    """Serve with so many workers until SIGTERM or Ctrl-C, which drain all of them; a second one ends them at once.

    Raises `StartError` if they do not start. One that dies later is replaced.
    """
    with _signals() as received:
        workers = [_Worker(app, log_level, sock) for _ in range(count)]
        try:
            if _all_ready(workers, received):
                announce(settings, sock)
                logger.info("%d workers serve: %s", count, ", ".join(str(worker.pid) for worker in workers))
            while not received:
                wait([worker.sentinel for worker in workers], LOOK_SECONDS)
                workers = [worker if worker.is_alive else _replacement(worker, received) for worker in workers]
        finally:
            sock.close()  # or whoever comes while they stop would wait for nobody
            _stop(workers, received, settings)


class _Worker:
    """A process that serves, as its parent sees it."""

    def __init__(self, app: str, log_level: LogLevel, sock: socket.socket) -> None:
        self.arguments = (app, log_level, sock)
        self._told, tell = Pipe(duplex=False)
        self._process = _SPAWN.Process(target=_work, args=(*self.arguments, tell))
        self._process.start()
        tell.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exit_status(self) -> int | None:
        return self._process.exitcode

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it serves."""
        return self._told.poll()

    def ask_to_stop(self) -> None:
        self._process.terminate()

    def join(self, seconds: float) -> None:
        """Wait for its end, and kill it if that does not come."""
        self._process.join(seconds)
        if self._process.is_alive():
            logger.warning("worker %s did not stop in time and is killed", self.pid)
            self._process.kill()
            self._process.join()


def _all_ready(workers: list[_Worker], received: list[int]) -> bool:
    """Wait until all serve; tells whether they do, which they do not if they were to stop before."""
    while True:
        if received:
            return False
        if not all(worker.is_alive for worker in workers):
            raise StartError("a worker did not start; the lines above say why")
        if all(worker.is_ready for worker in workers):
            return True
        wait([worker.sentinel for worker in workers], LOOK_SECONDS / 4)


def _replacement(dead: _Worker, received: list[int]) -> _Worker:
    logger.error("worker %s ended with %s; another takes its place", dead.pid, dead.exit_status)
    until = time.monotonic() + RESTART_SECONDS
    while not received and time.monotonic() < until:
        time.sleep(LOOK_SECONDS / 4)
    return dead if received else _Worker(*dead.arguments)


def _stop(workers: list[_Worker], received: list[int], settings: Settings) -> None:
    for worker in workers:
        worker.ask_to_stop()
    until = time.monotonic() + settings.drain_seconds + LAST_SECONDS
    hurried = False
    while time.monotonic() < until and any(worker.is_alive for worker in workers):
        wait([worker.sentinel for worker in workers if worker.is_alive], LOOK_SECONDS)
        if len(received) > 1 and not hurried:
            hurried = True
            for worker in workers:
                worker.ask_to_stop()
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Gather the signals that ask to stop."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(AnnouncingServer):
    """A worker's server: its parent announces the address, once all are there."""

    def __init__(self, settings: Settings, app: str, log_level: LogLevel, tell: Connection) -> None:
        super().__init__(server_config(settings, app, log_level=log_level), settings)
        self._tell = tell

    def announce(self, sock: socket.socket) -> None:
        """Tell the parent alone."""
        self._tell.send(True)


def _work(app: str, log_level: LogLevel, sock: socket.socket, tell: Connection) -> None:
    """Be a worker."""
    # Ctrl-C goes to everybody at the terminal, and would be a second signal after the parent's.
    os.setsid()
    end_with_parent()
    settings = load_settings()
    configure_logs(log_level, settings.log_format)
    server = _Server(settings, app, log_level, tell)
    run_in_child(server, [sock])
    if not server.started:
        sys.exit(1)


def run_in_child(server: AnnouncingServer, sockets: list[socket.socket]) -> None:
    """Serve in a child of the command, and exit with one line where the application cannot be made."""
    try:
        server.run(sockets=sockets)
    except StartError as error:
        sys.exit(f"gateway: {error}")


def end_with_parent() -> None:
    """Have this process end in order when its parent does, in whatever way that ends."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        with suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)
