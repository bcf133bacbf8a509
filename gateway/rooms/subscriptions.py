"""The rooms that this node has requested from the bus."""

import asyncio
import logging
from functools import partial

from gateway.bus.base import Bus

logger = logging.getLogger(__name__)


class Subscriptions:
    """Requests each room from the bus once at a time, although connections come and go before it answers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._held: dict[str, asyncio.Task[None] | None] = {}  # None after the bus has answered
        self._unwanted: set[str] = set()  # to be unsubscribed when the bus answers

    async def subscribe(self, name: str) -> None:
        """Wait until this node receives a room's events. Raise the bus's error in every caller that waits."""
        self._unwanted.discard(name)
        if name not in self._held:
            asking = asyncio.create_task(self._bus.subscribe(name))
            asking.add_done_callback(partial(self._answered, name))
            self._held[name] = asking
        if (answer := self._held[name]) is not None:
            await asyncio.shield(answer)  # a cancelled caller must not stop the others

    def unsubscribe(self, name: str) -> None:
        """Unsubscribe from a room's events."""
        if name not in self._held:
            return  # the bus has refused
        if self._held[name] is not None:
            self._unwanted.add(name)
            return
        del self._held[name]
        self._bus.unsubscribe(name)

    def close(self) -> None:
        """Stop requests that are waiting."""
        for asking in self._held.values():
            if asking is not None:
                asking.cancel()

    def _answered(self, name: str, asking: asyncio.Task[None]) -> None:
        if asking.cancelled() or (error := asking.exception()) is not None:
            del self._held[name]
            self._unwanted.discard(name)
            if not asking.cancelled():
                logger.warning("the bus refused a subscription: %r", error)
            return
        self._held[name] = None
        if name in self._unwanted:
            self._unwanted.remove(name)
            self.unsubscribe(name)
