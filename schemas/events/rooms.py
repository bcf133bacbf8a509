"""Events about rooms and their members."""

from typing import ClassVar

from schemas.base import Event
from schemas.messages.rooms import Role, Room


class RoomJoined(Event):
    """A user became a member of a room."""

    type: ClassVar[str] = "room.joined"

    room: str
    user: str


class RoomLeft(Event):
    """A user's membership of a room ended. `by` names another user that has ended it.

    If an invitation ends, the invited user's connections get the same event.
    """

    type: ClassVar[str] = "room.left"

    room: str
    user: str
    by: str | None = None


class RoomInvited(Event):
    """Another user invites this one to a room. All connections of the invited user get it."""

    type: ClassVar[str] = "room.invited"

    room: Room
    by: str


class RoomAdded(Event):
    """A service has made this user a member of a room. All connections of the user get it, and may join the room."""

    type: ClassVar[str] = "room.added"

    room: Room
    by: str


class RoomRole(Event):
    """A member has another role."""

    type: ClassVar[str] = "room.role"

    room: str
    user: str
    role: Role


class RoomUpdated(Event):
    """A room has another title, or its privacy has changed."""

    type: ClassVar[str] = "room.updated"

    room: Room


class RoomDeleted(Event):
    """A room was deleted with all of its messages."""

    type: ClassVar[str] = "room.deleted"

    room: str


class Resync(Event):
    """The gateway cannot deliver a room's messages without a gap. Join it anew, from its `epoch` and `offset`."""

    type: ClassVar[str] = "resync"

    room: str
    epoch: str
    offset: int
