"""The replacement of all workers while they serve: a rolling restart.

A new worker takes the place of an old one as soon as it serves. The old one then sends its clients away, one after
another, so that each is away for a moment only. After its end comes the next place. So at most one worker's clients
move at a time. What fails leaves the remaining old workers as they are.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.cli.worker import Worker

logger = logging.getLogger(__name__)

START_SECONDS = 300.0
"""How long a new worker may take until it serves; a new version may have large tables to change."""

LAST_SECONDS = 8.0
"""Seconds for a worker beyond its normal time to stop, before it is killed."""


@dataclass(frozen=True)
class _Step:
    """A worker that comes or goes, and until when."""

    worker: Worker
    until: float

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.until


class Replacement:
    """Replaces the workers in a list, in turn. Nothing here waits: `go_on` is called again and again."""

    def __init__(self, workers: list[Worker], start: Callable[[int], Worker]) -> None:
        self._workers = workers
        self._start = start
        self._places: list[int] = []
        self._replaced: list[Worker] = []
        self._coming: _Step | None = None
        self._leaving: _Step | None = None
        self._again = False

    @property
    def others(self) -> list[Worker]:
        """Return the processes beside the workers in the list: the one that comes, or the one that goes."""
        return [step.worker for step in (self._coming, self._leaving) if step is not None]

    @property
    def _goes_on(self) -> bool:
        return bool(self._places or self.others)

    def begin(self) -> None:
        """Replace all workers, and all of them once more if that is going on: the code may be newer by now."""
        if self._goes_on:
            self._again = True
            return
        self._places = [worker.place for worker in self._workers]
        self._replaced = []
        logger.info("SIGUSR1: replacing %d workers, one after another", len(self._places))

    def go_on(self) -> None:
        """Do what can be done now."""
        if self._leaving is not None:
            self._see_off(self._leaving)
        elif self._coming is not None:
            self._welcome(self._coming)
        elif self._places:
            self._start_next()

    def _start_next(self) -> None:
        if any(worker not in self._workers for worker in self._replaced):
            self._give_up("a new worker ended soon after its start; the lines above say why")
            return
        try:
            new = self._start(self._places[0])
        except OSError as error:  # the machine has no process, memory or descriptor left
            self._give_up(f"no new worker can be started ({error.strerror})")
            return
        self._coming = _Step(new, time.monotonic() + START_SECONDS)

    def _welcome(self, coming: _Step) -> None:
        new = coming.worker
        if not new.is_alive:
            self._give_up(f"the new worker {new.pid} ended with {new.exit_status}; the lines above say why")
        elif new.is_ready:
            self._coming = None
            self._put_in_place(new)
        elif coming.is_late:
            new.join(0)
            self._give_up(f"the new worker {new.pid} did not serve within {START_SECONDS:.0f} s")

    def _put_in_place(self, new: Worker) -> None:
        old = self._workers[new.place]
        logger.info("worker %s takes the place of worker %s, which leaves", new.pid, old.pid)
        self._workers[new.place] = new
        self._replaced.append(new)
        self._places.pop(0)
        old.ask_to_leave()
        seconds = old.leave_seconds + old.drain_seconds + LAST_SECONDS
        self._leaving = _Step(old, time.monotonic() + seconds)

    def _see_off(self, leaving: _Step) -> None:
        if leaving.worker.is_alive and not leaving.is_late:
            return
        leaving.worker.join(0)
        self._leaving = None
        if not self._places:
            pids = ", ".join(str(worker.pid) for worker in self._workers)
            logger.info("all workers are new: %s", pids)
            self._finish()

    def _give_up(self, reason: str) -> None:
        logger.error(
            "%s; %d of %d workers are replaced, and the others go on as they are",
            reason,
            len(self._workers) - len(self._places),
            len(self._workers),
        )
        self._coming, self._places = None, []
        self._finish()

    def _finish(self) -> None:
        if self._again:
            self._again = False
            self.begin()
