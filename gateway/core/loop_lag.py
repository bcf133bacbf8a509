"""The lag of the event loop: how much later than asked for it calls a function.

All clients of a process wait for as long. A lag of seconds means that something has blocked the loop, that the process
has too little of a processor, or that the system has paused it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from gateway.core.histograms import Histogram

LOOK_SECONDS = 0.25


class LoopLag:
    """Measures the lag of the running event loop, some times a second."""

    def __init__(self) -> None:
        self.seconds = Histogram()

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Measure while the context lasts."""
        self._look_later(asyncio.get_running_loop())
        try:
            yield self
        finally:
            self._timer.cancel()

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + LOOK_SECONDS
        self._timer = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.seconds.add(max(0.0, loop.time() - due))
        self._look_later(loop)
