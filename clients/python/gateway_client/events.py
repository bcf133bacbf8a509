"""A bounded queue of events for one loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from gateway_client.errors import GatewayError, Overflowed

Item = TypeVar("Item")

Wants = Callable[[str, Any], Any]
"""Returns the event of a type and its data for a loop, or None if the loop does not want it."""

MOST_EVENTS = 1000
"""Events that wait for one loop. One more is dropped, and the loop gets `Overflowed` in its place.

To wait would be worse: the loop's own calls need their replies, which come behind the events.
"""


def bounded(most: int) -> int:
    """Return how many events may wait for a loop. Raise `ValueError` for none."""
    if most < 1:
        raise ValueError(f"expected room for at least one event, got {most}")
    return most


class Events(Generic[Item]):
    """Events of one kind, for `async for`. It listens from the moment at which it is made, until it is closed."""

    def __init__(self, wants: Wants, *, most: int = MOST_EVENTS, room: str | None = None) -> None:
        self.room = room
        self.wants = wants
        self._most = most
        self._waiting: deque[Item | GatewayError] = deque()
        self._more = asyncio.Event()
        self._end: GatewayError | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        """Return the next event. Raise `Overflowed`, and `Lost` or `Refused` if there will be no more."""
        while not self._waiting:
            if self._closed:
                raise self._end or StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        item = self._waiting.popleft()
        if isinstance(item, GatewayError):
            raise item
        return item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def offer(self, type: str, data: Any) -> None:
        """Keep an event if the loop wants it."""
        if self._closed or (item := self.wants(type, data)) is None:
            return
        if len(self._waiting) < self._most:
            self._waiting.append(item)
        elif not isinstance(self._waiting[-1], Overflowed):
            self._waiting.append(
                Overflowed(f"over {self._most} events wait for a loop that reads too slowly; later ones are missing")
            )
        self._more.set()

    def close(self, end: GatewayError | None = None) -> None:
        """Let the loop end after the events that wait, with an error if there is one."""
        if not self._closed:
            self._closed, self._end = True, end
            self._more.set()
