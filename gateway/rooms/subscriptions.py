"""The rooms that this node has asked the bus for."""

import asyncio
import logging
from functools import partial

from gateway.bus.base import Bus

logger = logging.getLogger(__name__)


class Subscriptions:
    """Asks the bus for each room once at a time, whoever comes and goes while it has not answered yet."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._held: dict[str, asyncio.Task[None] | None] = {}  # None once the bus has answered
        self._unwanted: set[str] = set()  # are given back as soon as the bus has answered

    async def subscribe(self, name: str) -> None:
        """Wait until the bus gives this node a room's events. Raises what the bus does, to all who wait."""
        self._unwanted.discard(name)
        if name not in self._held:
            asking = asyncio.create_task(self._bus.subscribe(name))
            asking.add_done_callback(partial(self._answered, name))
            self._held[name] = asking
        if (answer := self._held[name]) is not None:
            await asyncio.shield(answer)  # who stops waiting stops nobody else

    def unsubscribe(self, name: str) -> None:
        """Ask for a room's events no more."""
        if name not in self._held:
            return  # the bus has refused
        if self._held[name] is not None:
            self._unwanted.add(name)
            return
        del self._held[name]
        self._bus.unsubscribe(name)

    def close(self) -> None:
        """Stop asking."""
        for asking in self._held.values():
            if asking is not None:
                asking.cancel()

    def _answered(self, name: str, asking: asyncio.Task[None]) -> None:
        if asking.cancelled() or (error := asking.exception()) is not None:
            del self._held[name]
            self._unwanted.discard(name)
            if not asking.cancelled():
                logger.warning("the bus did not take a subscription: %r", error)
            return
        self._held[name] = None
        if name in self._unwanted:
            self._unwanted.remove(name)
            self.unsubscribe(name)
