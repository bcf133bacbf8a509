"""Who hears which room on this node."""

from typing import Protocol

from gateway.bus.base import Bus, BusEvent
from gateway.connections import Connections
from gateway.transport.frames import Frame


class Listener(Protocol):
    """A connection, as the hub sees it."""

    user_id: str
    joined: set[str]
    """The rooms that it hears; the hub keeps it."""

    def deliver(self, frame: Frame) -> None:
        """Take an event; never waits and never raises."""


class _Room:
    """The listeners of one room, and those that are joining with what they have missed meanwhile."""

    __slots__ = ("joining", "listeners")

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self.joining: dict[Listener, list[BusEvent]] = {}

    @property
    def empty(self) -> bool:
        return not self.listeners and not self.joining


class Hub:
    """Gives each event that the bus brings to the listeners of its room."""

    def __init__(self, bus: Bus, connections: Connections) -> None:
        self._bus = bus
        self._connections = connections
        self._rooms: dict[str, _Room] = {}

    async def begin(self, name: str, listener: Listener) -> None:
        """Start to keep a room's events for a listener, until `complete` or `leave`.

        Whoever joins subscribes first and reads the store then, so that nothing falls in between.
        """
        listener.joined.add(name)
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room()
            room.joining[listener] = []
            await self._bus.subscribe(name)
            return
        room.listeners.discard(listener)
        room.joining[listener] = []

    def complete(self, name: str, listener: Listener, offset: int) -> None:
        """Make the listener hear the room, from the event after `offset` on."""
        room = self._rooms.get(name)
        kept = room.joining.pop(listener, None) if room is not None else None
        if room is None or kept is None:
            return  # its membership ended while it was joining
        room.listeners.add(listener)
        for event in kept:
            if event.offset is None or event.offset > offset:
                _give(event, listener)

    def leave(self, name: str, listener: Listener) -> None:
        """Make the listener hear the room no more."""
        listener.joined.discard(name)
        room = self._rooms.get(name)
        if room is None:
            return
        room.listeners.discard(listener)
        room.joining.pop(listener, None)
        if room.empty:
            del self._rooms[name]
            self._bus.unsubscribe(name)

    def receive(self, event: BusEvent) -> int:
        """Give an event to those whom it concerns; returns how many that were."""
        if event.room is None:
            return self._connections.deliver(event.frame)
        room = self._rooms.get(event.room)
        if room is None:
            return 0
        for kept in room.joining.values():
            kept.append(event)
        for listener in tuple(room.listeners):
            _give(event, listener)
        reached = len(room.listeners)
        if event.drop_user is not None:
            for listener in [*room.listeners, *room.joining]:
                if listener.user_id == event.drop_user:
                    self.leave(event.room, listener)
        return reached


def _give(event: BusEvent, listener: Listener) -> None:
    if event.skip_user is None or listener.user_id != event.skip_user:
        listener.deliver(event.frame)
