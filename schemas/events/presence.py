"""Events about presence."""

from typing import Any, ClassVar

from schemas.base import Event
from schemas.messages.presence import State


class PresenceChanged(Event):
    """A member of a room is now online, away or offline."""

    type: ClassVar[str] = "presence.changed"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby", "user": "alice", "state": "away"},)

    room: str
    user: str
    state: State
