"""A worker: a process that serves, as its supervisor sees it, and what runs in it.

A new worker may run newer code than the supervisor that starts it. So the two exchange only plain values, by name.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from multiprocessing.connection import Connection, Pipe
from typing import Any

from gateway.cli.serve import AnnouncingServer, LogLevel, server_config
from gateway.config.settings import Settings, load_settings
from gateway.connections.registry import MAX_RECONNECT_SPREAD_MS, Connections
from gateway.core import worker_place
from gateway.core.faults import contained
from gateway.core.logs import configure_logs
from gateway.core.start_error import StartError
from gateway.core.worker_place import Place

logger = logging.getLogger(__name__)

REPLACE = signal.SIGUSR1
"""Asks the supervisor to replace its workers."""

LEAVE = signal.SIGUSR2
"""Asks a worker to send its clients to its successor, one after another, and then to stop."""

_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """A process that serves, as its supervisor sees it."""

    def __init__(self, place: int, orders: dict[str, Any]) -> None:
        """`place` is its number among the workers, which its successor gets too."""
        self.place = place
        self.orders = orders
        self._told, tell = Pipe(duplex=False)
        self._process = _SPAWN.Process(target=serve_as_worker, args=(orders | {"place": place}, tell))
        # The system's tools may send a signal to all processes of a service, and this one would end a worker. A process
        # inherits what is blocked, also while it only starts.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {REPLACE})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        tell.close()

    @property
    def pid(self) -> int | None:
        """Return the number of the process."""
        return self._process.pid

    @property
    def sentinel(self) -> int:
        """Return what can be waited for until its end."""
        return self._process.sentinel

    @property
    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        return self._process.is_alive()

    @property
    def exit_status(self) -> int | None:
        """Return how it has ended."""
        return self._process.exitcode

    @property
    def is_ready(self) -> bool:
        """Return whether it has reported that it serves."""
        return "drain_seconds" in self._report

    @property
    def drain_seconds(self) -> float:
        """Return how long it may drain. It may have read newer settings than the supervisor."""
        return float(self._report.get("drain_seconds", 0))

    @property
    def leave_seconds(self) -> float:
        """Return how long it may take to leave its clients to others, before it drains."""
        return float(self._report.get("leave_seconds", 0))

    @property
    def _report(self) -> dict[str, Any]:
        return self._received if self._told.poll() or "_received" in vars(self) else {}

    @cached_property
    def _received(self) -> dict[str, Any]:
        try:
            received: dict[str, Any] = self._told.recv()
        except EOFError:  # it has ended before it was ready
            return {}
        return received

    def ask_to_stop(self) -> None:
        """Send SIGTERM: the worker drains and ends."""
        self._process.terminate()

    def ask_to_leave(self) -> None:
        """Send SIGUSR2: the clients of the worker come to others one after another, and then it stops."""
        with suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, LEAVE)

    def join(self, seconds: float) -> None:
        """Wait for its end, and kill it if it takes too long."""
        self._process.join(seconds)
        if self._process.is_alive():
            logger.warning("worker %s did not stop in time and is killed", self.pid)
            self._process.kill()
            self._process.join()


class _Server(AnnouncingServer):
    """A worker's server. The supervisor prints the URLs, once all workers are ready."""

    def __init__(self, settings: Settings, app: str, log_level: LogLevel, tell: Connection) -> None:
        super().__init__(server_config(settings, app, log_level=log_level), settings)
        self._tell = tell
        self._drain_seconds = settings.drain_seconds
        self._leaving: asyncio.Task[None] | None = None

    def announce(self, sock: socket.socket) -> None:
        """Report only to the supervisor."""
        loop = asyncio.get_running_loop()
        signal.signal(LEAVE, lambda _number, _frame: loop.call_soon_threadsafe(self._leave_soon))
        leave_seconds = MAX_RECONNECT_SPREAD_MS / 1000
        self._tell.send({"drain_seconds": self._drain_seconds, "leave_seconds": leave_seconds})

    def _leave_soon(self) -> None:
        if self._leaving is None and not self.should_exit:
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        """Take no more connections, send the clients away one after another, and stop."""
        for server in self.servers:
            server.close()  # otherwise it would take a part of the clients that come back
        with contained("leaving"):
            await asyncio.gather(*(_send_away(gateway.connections) for gateway in self._gateways()))
        self.should_exit = True


async def _send_away(connections: Connections) -> None:
    seconds = connections.seconds_to_leave
    logger.info("%d connections leave within %.1f seconds", connections.count, seconds)
    await connections.send_away(seconds)
    logger.info("all were asked to leave, and %d connections are open", connections.count)


def serve_as_worker(orders: dict[str, Any], tell: Connection) -> None:
    """Run one worker."""
    # A terminal sends Ctrl-C to all its processes. It would be a second signal after the supervisor's.
    os.setsid()
    end_with_parent()
    if "of" in orders:  # an older supervisor does not say it
        worker_place.take(Place(orders["of"], orders["place"], orders["count"]))
    settings = load_settings()
    log_level = LogLevel(orders["log_level"])
    configure_logs(log_level, settings.log_format)
    server = _Server(settings, orders["app"], log_level, tell)
    run_in_child(server, [orders["sock"]])
    if not server.started:
        sys.exit(1)


def run_in_child(server: AnnouncingServer, sockets: list[socket.socket]) -> None:
    """Serve in a child of the command, and exit with one line where the application cannot be made."""
    try:
        server.run(sockets=sockets)
    except StartError as error:
        sys.exit(f"gateway: {error}")


@contextmanager
def ignoring_replacement() -> Iterator[None]:
    """Log a line at SIGUSR1 in a process that has no workers. By default, the signal would end it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(
        REPLACE,
        lambda _number, _frame: logger.warning(
            "SIGUSR1: this process serves alone and cannot be replaced while it serves; stop it and start it again,"
            " or serve with --workers 2 or more"
        ),
    )
    try:
        yield
    finally:
        signal.signal(REPLACE, before)


def end_with_parent() -> None:
    """End this process in order when its parent ends, also if the parent is killed."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        with suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)
