"""Delivers events to the loops that want them."""

import weakref
from typing import Any

from gateway_client.errors import GatewayError, Lost
from gateway_client.events import Events, Wants, bounded
from gateway_client.model import LocalEvent


class Hub:
    """The loops of a gateway object. One that the program has dropped is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = bounded(most)
        self._loops: weakref.WeakSet[Events[Any]] = weakref.WeakSet()
        self._ended = False
        self._end: Lost | None = None

    def listen(self, wants: Wants, *, most: int | None = None, room: str | None = None) -> Events[Any]:
        """Return the events that `wants` returns, of one room or of all."""
        events: Events[Any] = Events(wants, most=self._most if most is None else bounded(most), room=room)
        if self._ended:
            events.close(self._end)
        self._loops.add(events)
        return events

    def has_listeners(self, room: str, wants: Wants) -> bool:
        """Return whether a loop over a room wants the same."""
        return any(events.room == room and events.wants is wants for events in self._loops)

    def offer(self, type: str, data: Any, room: str | None = None) -> None:
        """Deliver an event of a room, or of none."""
        for events in tuple(self._loops):
            if events.room is None or events.room == room:
                events.offer(type, data)

    def report(self, event: LocalEvent, room: str | None = None) -> None:
        """Deliver an event of the client's own."""
        self.offer(event.type, event, room)

    def close_room(self, room: str, end: GatewayError | None) -> None:
        """End the loops over a room."""
        for events in tuple(self._loops):
            if events.room == room:
                events.close(end)

    def close(self, end: Lost | None) -> None:
        """End all loops, with an error if the program did not wish it."""
        self._ended, self._end = True, end
        for events in tuple(self._loops):
            events.close(end)
