"""Who came and who went."""

from typing import ClassVar

from schemas.base import Event
from schemas.messages.rooms import Role, Room


class RoomJoined(Event):
    """A user became a member of a room."""

    type: ClassVar[str] = "room.joined"

    room: str
    user: str


class RoomLeft(Event):
    """A user's membership of a room ended, by the user's own doing or `by` another user's.

    Of an invitation that ended, the invited user's connections get the same event.
    """

    type: ClassVar[str] = "room.left"

    room: str
    user: str
    by: str | None = None


class RoomInvited(Event):
    """Another user asks this one to join a room; sent to all the user's connections."""

    type: ClassVar[str] = "room.invited"

    room: Room
    by: str


class RoomRole(Event):
    """A member has another role."""

    type: ClassVar[str] = "room.role"

    room: str
    user: str
    role: Role


class RoomUpdated(Event):
    """A room has another title or is private now, or no more."""

    type: ClassVar[str] = "room.updated"

    room: Room


class RoomDeleted(Event):
    """A room has ended, with all that was said in it."""

    type: ClassVar[str] = "room.deleted"

    room: str


class Resync(Event):
    """What was said in a room could not be delivered without a gap; join it anew, from its `epoch` and `offset`."""

    type: ClassVar[str] = "resync"

    room: str
    epoch: str
    offset: int
