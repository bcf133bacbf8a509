"""Rooms and their members."""

from typing import Literal

from pydantic import Field

from schemas.base import Timestamp, Wire
from schemas.messages.chat import Message
from schemas.messages.presence import State
from schemas.names import RoomName

Role = Literal["owner", "moderator", "member"]


class Room(Wire):
    """A room. Its log has an `epoch`, made with it, and has reached `offset`."""

    name: str
    title: str | None = None
    private: bool
    epoch: str
    offset: int
    created_at: Timestamp
    role: Role | None = None


class Member(Wire):
    """A member of a room and whether it is there; `last_seen` for one that was connected before."""

    user: str
    role: Role
    state: State
    last_seen: Timestamp | None = None


class CreateRoom(Wire):
    """Make a room and own it."""

    room: RoomName
    title: str | None = Field(default=None, min_length=1, max_length=200)
    private: bool = False


class RoomReply(Wire):
    """The room that was asked about."""

    room: Room


class JoinRoom(Wire):
    """Become a member, and hear the room on this connection."""

    room: RoomName


class JoinReply(Wire):
    """Where the room's log stands, and its newest messages, oldest first."""

    room: str
    epoch: str
    offset: int
    members: int
    messages: tuple[Message, ...]


class LeaveRoom(Wire):
    """End the membership, on all the user's connections."""

    room: RoomName


class ListRooms(Wire):
    """Public rooms and the user's own, by name; `cursor` is the `next_cursor` of the page before."""

    cursor: str | None = Field(default=None, max_length=64)
    limit: int = Field(default=50, ge=1, le=100)


class RoomsReply(Wire):
    """A page of rooms; `next_cursor` is left out on the last one."""

    rooms: tuple[Room, ...]
    next_cursor: str | None = None


class ListMembers(Wire):
    """Who is in a room, by name; `cursor` is the `next_cursor` of the page before."""

    room: RoomName
    cursor: str | None = Field(default=None, max_length=32)
    limit: int = Field(default=100, ge=1, le=1000)


class MembersReply(Wire):
    """A page of members; `next_cursor` is left out on the last one."""

    members: tuple[Member, ...]
    next_cursor: str | None = None
