"""Several processes that serve one address, and their supervisor.

Each worker is a whole gateway. Workers cooperate through the bus and the store, like nodes on different machines.
uvicorn's supervisor would start uvicorn's own server, but the gateway's server has more to do at its end. So the
gateway has its own supervisor.
"""

import logging
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import FrameType

from gateway.cli.hangup import at_hangup, pass_on
from gateway.cli.replacement import LAST_SECONDS, Replacement
from gateway.cli.serve import LogLevel, announce
from gateway.cli.worker import REPLACE, Worker
from gateway.config.bus_url import MEMORY
from gateway.config.settings import Settings
from gateway.core.start_error import StartError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often the supervisor checks the workers and the received signals."""

RESTART_SECONDS = 1.0
"""How long to wait before a new worker replaces a dead one, since the reason may remain."""


def check(settings: Settings, workers: int) -> None:
    """Check that this number of workers can serve together, or raise `StartError`."""
    if workers > 1 and settings.bus_url == MEMORY:
        raise StartError(
            f"--workers {workers} needs a bus: without one, users of one worker would not reach those of another;"
            " add for example GATEWAY_BUS_URL=redis://127.0.0.1:6379"
        )


@dataclass
class _Received:
    """The signals that have come."""

    stops: list[int] = field(default_factory=list)
    replaces: bool = False
    hangs_up: bool = False

    def hang_up(self) -> None:
        """Note SIGHUP."""
        self.hangs_up = True


def run(settings: Settings, app: str, log_level: LogLevel, sock: socket.socket, count: int) -> None:
    """Serve with `count` workers until SIGTERM or Ctrl-C, which drains all of them. A second signal ends them at once.

    Raise `StartError` if they do not start. A new worker replaces one that dies later. SIGUSR1 replaces all of them,
    one after another.
    """
    orders = {"app": app, "log_level": log_level.value, "sock": sock, "of": secrets.token_hex(8), "count": count}

    def start(place: int) -> Worker:
        return Worker(place, orders)

    workers: list[Worker] = []
    replacement = Replacement(workers, start)

    with _signals() as received, at_hangup(received.hang_up):
        workers.extend(map(start, range(count)))
        try:
            if _all_ready(workers, received):
                announce(settings, sock)
                logger.info("%d workers serve: %s", count, ", ".join(str(worker.pid) for worker in workers))
                received.replaces = False  # a signal until now found only new ones
            _supervise(workers, replacement, received)
        finally:
            sock.close()  # otherwise new clients would wait in vain while the workers stop
            _stop([*workers, *replacement.others], received, settings)


def _supervise(workers: list[Worker], replacement: Replacement, received: _Received) -> None:
    """Keep every place taken until a signal requests a stop."""
    while not received.stops:
        wait([worker.sentinel for worker in (*workers, *replacement.others)], LOOK_SECONDS)
        for worker in list(workers):
            if not worker.is_alive:
                workers[worker.place] = _successor(worker, received)
        if received.hangs_up:
            received.hangs_up = False
            _hang_up([*workers, *replacement.others])
        if received.replaces:
            received.replaces = False
            replacement.begin()
        replacement.go_on()


def _hang_up(workers: Sequence[Worker]) -> None:
    for worker in workers:
        if worker.is_ready:  # before that, the signal would end it
            pass_on(worker.pid)


def _all_ready(workers: Sequence[Worker], received: _Received) -> bool:
    """Wait until all workers serve. Return False if a signal comes before that."""
    while True:
        if received.stops:
            return False
        if not all(worker.is_alive for worker in workers):
            raise StartError("a worker did not start; the lines above say why")
        if all(worker.is_ready for worker in workers):
            return True
        wait([worker.sentinel for worker in workers], LOOK_SECONDS / 4)


def _successor(dead: Worker, received: _Received) -> Worker:
    logger.error("worker %s ended with %s; a new one replaces it", dead.pid, dead.exit_status)
    until = time.monotonic() + RESTART_SECONDS
    while not received.stops and time.monotonic() < until:
        time.sleep(LOOK_SECONDS / 4)
    try:
        return dead if received.stops else Worker(dead.place, dead.orders)
    except OSError as error:  # the other workers serve on without it
        logger.warning("no new worker can be started (%s)", error.strerror)
        return dead


def _stop(workers: Sequence[Worker], received: _Received, settings: Settings) -> None:
    for worker in workers:
        worker.ask_to_stop()
    drain_seconds = max(settings.drain_seconds, *(worker.drain_seconds for worker in workers))
    until = time.monotonic() + drain_seconds + LAST_SECONDS
    hurried = False
    while time.monotonic() < until and any(worker.is_alive for worker in workers):
        wait([worker.sentinel for worker in workers if worker.is_alive], LOOK_SECONDS)
        if len(received.stops) > 1 and not hurried:
            hurried = True
            for worker in workers:
                worker.ask_to_stop()
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))


@contextmanager
def _signals() -> Iterator[_Received]:
    """Collect the signals that request a stop or new workers."""
    received = _Received()

    def stop(number: int, _frame: FrameType | None) -> None:
        received.stops.append(number)

    def replace(_number: int, _frame: FrameType | None) -> None:
        received.replaces = True

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, REPLACE: replace}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
