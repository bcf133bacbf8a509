"""The slow look at every room that this node hears.

A bus that loses an event does not know it, and if nothing follows in that room, no hole shows. So each room is compared
with the store now and then; and every second while the bus is down, when the store is all that tells of other nodes.
"""

import asyncio
from contextlib import suppress

from gateway.bus.base import Bus
from gateway.core.batches import batches
from gateway.core.faults import contained
from gateway.core.tasks import stop
from gateway.rooms.hub import BATCH, Hub
from handlers.errors import Unavailable

DOWN_SECONDS = 1.0
"""How long a sweep takes while the bus is down."""


class Sweep:
    """Compares the rooms of a hub with the store, in small batches over the time that a sweep takes."""

    def __init__(self, hub: Hub, bus: Bus, seconds: float) -> None:
        self._hub = hub
        self._bus = bus
        self._seconds = seconds
        self._sweeping: asyncio.Task[None] | None = None
        self._sweeps = 0

    def start(self) -> None:
        """Sweep from now on, if there may be other nodes."""
        if self._bus.is_shared:
            self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Sweep no more."""
        if self._sweeping is not None:
            await stop(self._sweeping)

    @property
    def sweeps(self) -> int:
        """How often all rooms have been compared."""
        return self._sweeps

    async def _sweep(self) -> None:
        while True:
            some = list(batches(self._hub.rooms, BATCH)) or [[]]
            for batch in some:
                await self._rest(1 / len(some))
                with contained("sweep"), suppress(Unavailable):  # logged by the store; there will be another time
                    await self._hub.look(batch)
            self._sweeps += 1

    async def _rest(self, share: float) -> None:
        """Wait for a share of the time that a sweep takes, which becomes shorter when the bus goes down."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while (left := begun + share * self._period - loop.time()) > 0:  # noqa: ASYNC110 - nobody tells that the bus is down
            await asyncio.sleep(min(left, DOWN_SECONDS / 4))

    @property
    def _period(self) -> float:
        return self._seconds if self._bus.is_up else min(self._seconds, DOWN_SECONDS)
