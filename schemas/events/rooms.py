"""Who came and who went."""

from typing import ClassVar

from schemas.base import Event


class RoomJoined(Event):
    """A user became a member of a room."""

    type: ClassVar[str] = "room.joined"

    room: str
    user: str


class RoomLeft(Event):
    """A user's membership of a room ended."""

    type: ClassVar[str] = "room.left"

    room: str
    user: str
