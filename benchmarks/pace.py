"""Runs an action at a pace, by the clock and not by the answers, and measures the answers."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress


class Pace:
    """Runs an action so many times a second, with or without an answer to the one before.

    After a stall of the server, or of this process, the missed actions run at once. So a stall never lowers the load.
    """

    def __init__(self, per_second: float, act: Callable[[int], None]) -> None:
        self._per_second = per_second
        self._act = act
        self.done = 0
        self.late: list[float] = []
        """Seconds by which each action was late: this machine may be the cause, and not the server."""

    async def run(self, seconds: float) -> None:
        """Run for so many seconds, and then until the due number of actions is done."""
        wanted = max(1, round(seconds * self._per_second))
        began = time.perf_counter()
        while self.done < wanted:
            due = began + self.done / self._per_second
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            self.late.append(time.perf_counter() - due)
            self._act(self.done)
            self.done += 1


@contextmanager
def woken_first() -> Iterator[None]:
    """Run this process at SCHED_FIFO, before all others, if the system allows that.

    Otherwise its own wait for a core would count as the server's time. A process that uses this must do little. Its
    child processes run at the ordinary priority.
    """
    if sys.platform != "linux":
        yield
        return
    with suppress(OSError):  # usually only root may
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest value that `percent` of the values do not exceed."""
    if not values:
        raise RuntimeError("nothing was answered")
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
