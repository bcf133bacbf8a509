"""Several processes that serve one address, and their supervisor.

Each worker is a whole gateway. Workers cooperate through the bus and the store, like nodes on different machines.
uvicorn's supervisor would start uvicorn's own server, but the gateway's server has more to do at its end. So the
gateway has its own supervisor.
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

from gateway.cli.hangup import at_hangup, pass_on
from gateway.cli.serve import AnnouncingServer, LogLevel, announce, server_config
from gateway.config.bus_url import MEMORY
from gateway.config.settings import Settings, load_settings
from gateway.core.logs import configure_logs
from gateway.core.start_error import StartError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often the supervisor checks the workers and the received signals."""

RESTART_SECONDS = 1.0
"""How long to wait before a new worker replaces a dead one, since the reason may remain."""

LAST_SECONDS = 5.0
"""Seconds for the workers beyond the normal time to stop, before they are killed."""

_SPAWN = multiprocessing.get_context("spawn")


def check(settings: Settings, workers: int) -> None:
    """Check that this number of workers can serve together, or raise `StartError`."""
    if workers > 1 and settings.bus_url == MEMORY:
        raise StartError(
            f"--workers {workers} needs a bus: without one, users of one worker would not reach those of another;"
            " add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379"
        )


def run(settings: Settings, app: str, log_level: LogLevel, sock: socket.socket, count: int) -> None:
    """Serve with `count` workers until SIGTERM or Ctrl-C, which drains all of them. A second signal ends them at once.

    Raise `StartError` if they do not start. A new worker replaces one that dies later.
    """
    workers: list[_Worker] = []

    def hang_up() -> None:
        for worker in workers:
            if worker.is_ready:  # before that, the signal would end it
                pass_on(worker.pid)

    with _signals() as received, at_hangup(hang_up):
        workers = [_Worker(app, log_level, sock) for _ in range(count)]
        try:
            if _all_ready(workers, received):
                announce(settings, sock)
                logger.info("%d workers serve: %s", count, ", ".join(str(worker.pid) for worker in workers))
            while not received:
                wait([worker.sentinel for worker in workers], LOOK_SECONDS)
                workers = [worker if worker.is_alive else _replacement(worker, received) for worker in workers]
        finally:
            sock.close()  # otherwise new clients would wait in vain while the workers stop
            _stop(workers, received, settings)


class _Worker:
    """A process that serves, as its supervisor sees it."""

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
        """Return whether it has reported that it serves."""
        return self._told.poll()

    def ask_to_stop(self) -> None:
        self._process.terminate()

    def join(self, seconds: float) -> None:
        """Wait for its end, and kill it if it takes too long."""
        self._process.join(seconds)
        if self._process.is_alive():
            logger.warning("worker %s did not stop in time and is killed", self.pid)
            self._process.kill()
            self._process.join()


def _all_ready(workers: list[_Worker], received: list[int]) -> bool:
    """Wait until all workers serve. Return False if a signal comes before that."""
    while True:
        if received:
            return False
        if not all(worker.is_alive for worker in workers):
            raise StartError("a worker did not start; the lines above say why")
        if all(worker.is_ready for worker in workers):
            return True
        wait([worker.sentinel for worker in workers], LOOK_SECONDS / 4)


def _replacement(dead: _Worker, received: list[int]) -> _Worker:
    logger.error("worker %s ended with %s; a new one replaces it", dead.pid, dead.exit_status)
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
    """Collect the signals that request a stop."""
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
    """A worker's server. The supervisor prints the URLs, once all workers are ready."""

    def __init__(self, settings: Settings, app: str, log_level: LogLevel, tell: Connection) -> None:
        super().__init__(server_config(settings, app, log_level=log_level), settings)
        self._tell = tell

    def announce(self, sock: socket.socket) -> None:
        """Report only to the supervisor."""
        self._tell.send(True)


def _work(app: str, log_level: LogLevel, sock: socket.socket, tell: Connection) -> None:
    """Run one worker."""
    # A terminal sends Ctrl-C to all its processes. It would be a second signal after the supervisor's.
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
    """End this process in order when its parent ends, also if the parent is killed."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        with suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)
