"""Compares each room of this node with the store, slowly and regularly.

A bus that loses an event does not notice it. If no event follows in that room, no gap shows. So each room is compared
now and then. While the bus is down, it happens every second, because only the store knows of other nodes then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from gateway.bus.base import Bus
from gateway.core.batches import batches
from gateway.core.periodic import Periodic
from gateway.rooms.hub import Hub
from gateway.rooms.repair import BATCH

DOWN_SECONDS = 1.0
"""How long a sweep takes while the bus is down."""


class Reconciler:
    """Compares the rooms of a hub with the store, in small batches spread over the time of a sweep."""

    def __init__(self, hub: Hub, bus: Bus, seconds: float) -> None:
        self._hub = hub
        self._bus = bus
        self._seconds = seconds
        self._batches: list[list[str]] = []
        self._share = 1.0
        """The part of a sweep's time for one batch."""
        self._looked_at = 0.0
        self._sweeps = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Sweep while the context lasts, if there may be other nodes."""
        async with AsyncExitStack() as stack:
            if self._bus.is_shared:
                self._begin()
                await stack.enter_async_context(Periodic("reconciler", self._pause, self._go_on))
            yield self

    @property
    def sweeps(self) -> int:
        """Return how often all rooms have been compared."""
        return self._sweeps

    def _begin(self) -> None:
        self._looked_at = asyncio.get_running_loop().time()
        self._batches = list(batches(self._hub.room_names, BATCH)) or [[]]
        self._share = 1 / len(self._batches)

    async def _go_on(self) -> None:
        """Compare the next batch, if it is due."""
        if self._left > 0:
            return
        self._looked_at = asyncio.get_running_loop().time()
        batch = self._batches.pop(0)
        try:
            await self._hub.repair.check(batch)
        finally:
            if not self._batches:
                self._sweeps += 1
                self._begin()

    def _pause(self) -> float:
        # Not the whole time at once: it becomes shorter when the bus goes down, which is not reported here.
        return max(0.0, min(self._left, DOWN_SECONDS / 4))

    @property
    def _left(self) -> float:
        """Return the seconds until the next batch is due."""
        period = self._seconds if self._bus.is_up else min(self._seconds, DOWN_SECONDS)
        return self._looked_at + self._share * period - asyncio.get_running_loop().time()
