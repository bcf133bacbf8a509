"""Who comes and goes."""

from typing import ClassVar

from schemas.base import Event
from schemas.messages.presence import State


class PresenceChanged(Event):
    """A member of a room came, idled or went."""

    type: ClassVar[str] = "presence.changed"

    room: str
    user: str
    state: State
