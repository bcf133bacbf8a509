"""Doing something at a pace, by the clock and not by the answers, and how long the answers took."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress


class Pace:
    """Does something so many times a second, whether or not what was done before has been answered.

    What could not be done in time is made up for at once, so that a stall of the server, or of this process, makes
    nobody ask less.
    """

    def __init__(self, per_second: float, act: Callable[[int], None]) -> None:
        self._per_second = per_second
        self._act = act
        self.done = 0
        self.late: list[float] = []
        """By how many seconds each came after its time: so much may be this machine's doing, and not the server's."""

    async def run(self, seconds: float) -> None:
        """Go on for so long, and then until as much has been done as that takes."""
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
    """Have this process run before all others whenever it has something to do, where the system allows that.

    Else the time until it gets its turn would be taken for the server's. For who does little; what it starts meanwhile
    runs like any other.
    """
    if sys.platform != "linux":
        yield
        return
    with suppress(OSError):  # only root may, as a rule
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def percentile(values: Sequence[float], percent: int) -> float:
    """Give the smallest value that so many in a hundred do not exceed."""
    if not values:
        raise RuntimeError("nothing was answered")
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]
