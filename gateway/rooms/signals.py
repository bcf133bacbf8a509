"""Which rooms take signals.

A room may refuse them, and the store says so. A node remembers for a second that a room which it hears takes them, so
that a cursor which moves does not read the store each time.
"""

from gateway.core.clock import Clock
from gateway.rooms.hub import Hub
from gateway.store.rooms import RoomRow
from handlers.errors import Forbidden

REMEMBERED_SECONDS = 1.0
"""How long a node goes on to take signals of a room after another node has turned them off."""


class Signals:
    """Says whether rooms take signals."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock

    def is_allowed(self, name: str) -> bool:
        """Return whether a room takes signals, as this node remembers. If not, only the store knows."""
        room = self._hub.find(name)
        return room is not None and self._clock.steady() < room.signals_until

    def check(self, row: RoomRow) -> None:
        """Remember that a room takes signals, or raise `Forbidden`."""
        if not row.signals:
            raise Forbidden("this room takes no signals; an owner turns them on with `room.update`")
        if (room := self._hub.find(row.name)) is not None:
            room.signals_until = self._clock.steady() + REMEMBERED_SECONDS

    def forget(self, name: str) -> None:
        """Ask the store at the next signal of a room, which has changed."""
        if (room := self._hub.find(name)) is not None:
            room.signals_until = 0.0
