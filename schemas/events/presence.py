"""Events about presence."""

from typing import Any, ClassVar

from schemas.base import Event
from schemas.messages.presence import State


class PresenceChanged(Event):
    """A member of a room is now online, away or offline, or has another custom state, or none any more."""

    type: ClassVar[str] = "presence.changed"
    examples: ClassVar[tuple[Any, ...]] = (
        {"room": "lobby", "user": "alice", "state": "away"},
        {"room": "lobby", "user": "alice", "state": "online", "custom_state": {"in_call": True}},
    )

    room: str
    user: str
    state: State
    custom_state: dict[str, Any] | None = None
