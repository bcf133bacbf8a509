"""Events about rooms and their members."""

from typing import Any, ClassVar

from schemas.base import Event
from schemas.bounded_json import SignalData
from schemas.messages.rooms import Role, Room
from schemas.names import SignalName

_ROOM = {
    "name": "lobby",
    "private": False,
    "direct": False,
    "epoch": "yj4XTlDc",
    "offset": 57,
    "created_at": "2026-11-20T23:20:08.785Z",
}


class RoomJoined(Event):
    """A user became a member of a room."""

    type: ClassVar[str] = "room.joined"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby", "user": "alice"},)

    room: str
    user: str


class RoomLeft(Event):
    """A user's membership of a room ended. `by` names another user that has ended it.

    If an invitation ends, the invited user's connections get the same event.
    """

    type: ClassVar[str] = "room.left"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby", "user": "bobby", "by": "alice"},)

    room: str
    user: str
    by: str | None = None


class RoomInvited(Event):
    """Another user invites this one to a room. All connections of the invited user get it."""

    type: ClassVar[str] = "room.invited"
    examples: ClassVar[tuple[Any, ...]] = ({"room": _ROOM | {"private": True, "invited": True}, "by": "alice"},)

    room: Room
    by: str


class RoomAdded(Event):
    """A service has made this user a member of a room. All connections of the user get it, and may join the room."""

    type: ClassVar[str] = "room.added"
    examples: ClassVar[tuple[Any, ...]] = ({"room": _ROOM | {"role": "member"}, "by": "service:orders"},)

    room: Room
    by: str


class RoomRole(Event):
    """A member has another role."""

    type: ClassVar[str] = "room.role"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby", "user": "bobby", "role": "moderator"},)

    room: str
    user: str
    role: Role


class RoomSignal(Event):
    """A user has sent a signal. No log keeps it, and a slow reader loses it first."""

    type: ClassVar[str] = "room.signal"
    examples: ClassVar[tuple[Any, ...]] = (
        {"room": "lobby", "user": "alice", "name": "cursor", "data": {"x": 120, "y": 45}},
    )

    room: str
    user: str
    name: SignalName
    data: SignalData = None


class RoomUpdated(Event):
    """A room has another title, or its privacy or its signals have changed."""

    type: ClassVar[str] = "room.updated"
    examples: ClassVar[tuple[Any, ...]] = ({"room": _ROOM | {"title": "The lobby"}},)

    room: Room


class RoomDeleted(Event):
    """A room was deleted with all of its messages."""

    type: ClassVar[str] = "room.deleted"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby"},)

    room: str


class Resync(Event):
    """The gateway cannot deliver a room's messages without a gap. Join it anew, from its `epoch` and `offset`."""

    type: ClassVar[str] = "resync"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby", "epoch": "yj4XTlDc", "offset": 57},)

    room: str
    epoch: str
    offset: int
