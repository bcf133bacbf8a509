"""Several workers on one socket: `gateway serve --workers N`.

Each is a process of its own with a whole gateway in it. The parent starts those again that die, passes signals on, and
ends when all of them have. Not uvicorn's own supervisor: its workers cannot drain, for they are all `uvicorn.Server`.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from types import FrameType

from gateway.startup import StartError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
RESTART_SECONDS = 1.0
"""How long after its start a worker that has died is started again, at the soonest: nothing should spin."""

_spawn = multiprocessing.get_context("spawn")  # a fork would share what the parent has opened


@dataclass(frozen=True)
class Job:
    """What a worker runs: a function of these arguments, the socket, and what to call when it serves."""

    run: Callable[..., None]
    arguments: tuple[object, ...]


class Worker:
    """One worker, as the parent sees it."""

    def __init__(self, job: Job, sock: socket.socket) -> None:
        self._serves: Event = _spawn.Event()
        self.began = time.monotonic()
        self.process: SpawnProcess = _spawn.Process(target=_work, args=(job, sock, self._serves))
        self.process.start()

    @property
    def serves(self) -> bool:
        """Whether it has ever been ready."""
        return self._serves.is_set()

    def end(self) -> None:
        """Ask it to stop; a second time, at once."""
        if self.process.pid is not None and self.process.exitcode is None:
            os.kill(self.process.pid, signal.SIGTERM)


class Workers:
    """All of them."""

    def __init__(self, count: int, job: Job, sock: socket.socket, on_ready: Callable[[], None]) -> None:
        """`on_ready` is called once, when all of them serve."""
        self._count = count
        self._job = job
        self._sock = sock
        self._on_ready = on_ready
        self._workers: list[Worker] = []
        self._signals = 0
        self._passed_on = 0
        self._failed = False

    def run(self) -> None:
        """Run until told to stop; raises `StartError` if one cannot start at all."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        self._workers = [self._start() for _ in range(self._count)]
        announced = False
        while self._workers:
            wait([worker.process.sentinel for worker in self._workers], LOOK_SECONDS)
            self._pass_signals_on()
            self._bury_the_dead()
            if not announced and len(self._workers) == self._count and all(each.serves for each in self._workers):
                announced = True
                self._on_ready()
        if self._failed:
            raise StartError("a worker did not start; the lines above say why")

    def _start(self) -> Worker:
        return Worker(self._job, self._sock)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def _pass_signals_on(self) -> None:
        while self._passed_on < self._signals:
            self._passed_on += 1
            self._end_all()

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.end()

    def _bury_the_dead(self) -> None:
        for worker in [each for each in self._workers if each.process.exitcode is not None]:
            self._workers.remove(worker)
            if self._signals or self._failed:
                continue
            if not worker.serves:
                # It would fail again. The others stop as they would at a signal.
                self._failed = True
                self._end_all()
                continue
            logger.error("worker %d has ended with %s; another takes its place", worker.process.pid, _how(worker))
            time.sleep(max(0.0, worker.began + RESTART_SECONDS - time.monotonic()))
            self._workers.append(self._start())


def _how(worker: Worker) -> str:
    code = worker.process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"status {code}"


def _work(job: Job, sock: socket.socket, serves: Event) -> None:
    """Be a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the server takes it, and ignores it as well
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        job.run(*job.arguments, sock, serves.set)
    except StartError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)  # noqa: T201 - as the command itself would say it
        sys.exit(1)


def _end_with_parent() -> None:
    """Stop in order when the parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this is a child
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
