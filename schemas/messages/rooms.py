"""Rooms and their members."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, JsonValue, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.base import Timestamp, Wire
from schemas.bounded_json import SignalData
from schemas.errors import ErrorBody
from schemas.messages.chat import MAX_OFFSET, MESSAGE_EXAMPLE, Message
from schemas.messages.presence import State
from schemas.names import RoomName, SignalName, UserName
from schemas.rules import at_least_one, with_rules

Role = Literal["owner", "moderator", "member"]

MAX_RESUMED = 128
"""The most rooms in one `room.resume`: as many as a connection hears by default."""


ROOM_EXAMPLE: dict[str, JsonValue] = {
    "name": "lobby",
    "title": "The lobby",
    "private": False,
    "direct": False,
    "epoch": "yj4XTlDc",
    "offset": 57,
    "created_at": "2026-11-20T23:20:08.785Z",
    "role": "owner",
    "unread": 0,
}


class Room(Wire):
    """A room. Its log has an `epoch` of its own, and has reached `offset`.

    Members see `role` and `unread`; an invited user sees `invited`. `signals` is there, and false, if the room takes no
    signals.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [ROOM_EXAMPLE]})

    name: str
    title: str | None = None
    private: bool
    direct: bool = False
    signals: bool | None = None
    epoch: str
    offset: int
    created_at: Timestamp
    role: Role | None = None
    invited: bool | None = None
    unread: int | None = None


class Member(Wire):
    """A member of a room with its presence.

    It has `last_seen` if it was connected before, and `custom_state` if it has set one in this room.
    """

    user: str
    role: Role
    state: State
    last_seen: Timestamp | None = None
    custom_state: dict[str, Any] | None = None


class CreateRoom(Wire):
    """Make a room and own it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"room": "lobby", "title": "The lobby"}, {"room": "plans", "private": True}]}
    )

    room: RoomName
    title: str | None = Field(default=None, min_length=1, max_length=200)
    private: bool = False
    signals: bool = True


class RoomReply(Wire):
    """The room of the request."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"room": ROOM_EXAMPLE}]})

    room: Room


class Position(Wire):
    """A client's position in a room's log: the highest `changed` that it has seen, and its epoch."""

    epoch: str = Field(min_length=1, max_length=64, description="The `epoch` of the room's log.")
    offset: int = Field(ge=0, le=MAX_OFFSET, description="The highest `changed` that the client has seen.")


class JoinRoom(Wire):
    """Become a member, and listen to the room on this connection. `since` resumes from a position.

    The reply carries at most `limit` messages, for clients that take no long frames.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"room": "lobby"},
                {"room": "lobby", "since": {"epoch": "yj4XTlDc", "offset": 17}, "limit": 20},
            ]
        }
    )

    room: RoomName
    since: Position | None = None
    limit: int | None = Field(default=None, ge=0, le=50)


class LogEvent(Wire):
    """A missed event of a room, in its live form."""

    type: Literal["chat.message", "chat.edited", "chat.deleted"]
    data: Message


Reason = Literal["epoch_changed", "too_old", "too_many"]


_AT: dict[str, JsonValue] = {"room": "lobby", "epoch": "yj4XTlDc", "offset": 17, "members": 2}
_JOINED = _AT | {"messages": [MESSAGE_EXAMPLE]}
_RESUMED = _AT | {"recovered": True, "events": [{"type": "chat.message", "data": MESSAGE_EXAMPLE}]}
_CHANGED = _AT | {"recovered": False, "reason": "epoch_changed", "messages": [MESSAGE_EXAMPLE]}
_RECOVERED = {"required": ["recovered", "events"], "properties": {"recovered": {"const": True}}}
_NEWEST = {"required": ["messages"], "properties": {"recovered": {"const": False}}}


class JoinReply(Wire):
    """The position of the room's log, and its missed or newest messages.

    If `since` was sent and `recovered` is true, `events` has each message that has changed since, once, ordered by
    `changed`. Otherwise the reply has the newest messages, oldest first. `reason` says why the client cannot resume.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_JOINED, _RESUMED, _CHANGED]})

    room: str
    epoch: str
    offset: int
    members: int
    recovered: bool | None = None
    reason: Reason | None = None
    events: tuple[LogEvent, ...] | None = None
    messages: tuple[Message, ...] | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule about `events` and `messages`."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, {"oneOf": [_RECOVERED, _NEWEST]})


class ResumeRooms(Wire):
    """Do for each of several rooms what `room.join` does. The names differ."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"rooms": [{"room": "lobby", "since": {"epoch": "yj4XTlDc", "offset": 17}}, {"room": "attic"}]}
            ]
        }
    )

    rooms: list[JoinRoom] = Field(min_length=1, max_length=MAX_RESUMED)

    @field_validator("rooms")
    @classmethod
    def _distinct(cls, rooms: list[JoinRoom]) -> list[JoinRoom]:
        if len({each.room for each in rooms}) < len(rooms):
            raise PydanticCustomError("room_twice", "expected each room once")
        return rooms


_NO_ATTIC: dict[str, JsonValue] = {
    "status": 40400,
    "name": "not_found",
    "message": "there is no room `attic`",
    "retryable": False,
}


class RefusedRoom(Wire):
    """A room of a `room.resume` that the user cannot join, with the error that `room.join` would get."""

    room: str
    error: ErrorBody


class ResumeReply(Wire):
    """The rooms in the order of the request, as many as fit into one frame.

    If `has_more` is true, the client asks again for the missing ones. It does not hear them yet.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"rooms": [_RESUMED, {"room": "attic", "error": _NO_ATTIC}], "has_more": False}]
        }
    )

    rooms: tuple[JoinReply | RefusedRoom, ...]
    has_more: bool = False


class LeaveRoom(Wire):
    """End the membership on all of the user's connections, or decline an invitation."""

    room: RoomName


class ListRooms(Wire):
    """List the public rooms, the user's own and its invitations, by name.

    `cursor` is the `next_cursor` of the page before.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"cursor": "lobby", "limit": 20}]})

    cursor: str | None = Field(default=None, max_length=64)
    limit: int = Field(default=50, ge=1, le=100)


class RoomsReply(Wire):
    """A page of rooms. The last one has no `next_cursor`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rooms": [ROOM_EXAMPLE], "next_cursor": "lobby"}]})

    rooms: tuple[Room, ...]
    next_cursor: str | None = None


class ListMembers(Wire):
    """List the members of a room, by name. `cursor` is the `next_cursor` of the page before."""

    room: RoomName
    cursor: str | None = Field(default=None, max_length=32)
    limit: int = Field(default=100, ge=1, le=1000)


class MembersReply(Wire):
    """A page of members. The last one has no `next_cursor`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "members": [
                        {"user": "alice", "role": "owner", "state": "online", "custom_state": {"in_call": True}},
                        {
                            "user": "bobby",
                            "role": "member",
                            "state": "offline",
                            "last_seen": "2026-11-20T23:21:30.112Z",
                        },
                    ]
                }
            ]
        }
    )

    members: tuple[Member, ...]
    next_cursor: str | None = None


class InviteUser(Wire):
    """Invite another user to a room."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"room": "lobby", "user": "bobby"}]})

    room: RoomName
    user: UserName


class KickUser(Wire):
    """End another user's membership, or take an invitation back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"room": "lobby", "user": "bobby"}]})

    room: RoomName
    user: UserName


class SetRole(Wire):
    """Change a member's role."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"room": "lobby", "user": "bobby", "role": "moderator"}]})

    room: RoomName
    user: UserName
    role: Role


class UpdateRoom(Wire):
    """Change a room's title, its privacy, or whether it takes signals."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"room": "lobby", "title": "The hall"}, {"room": "lobby", "signals": True}]}
    )

    room: RoomName
    title: str | None = Field(default=None, min_length=1, max_length=200)
    private: bool | None = None
    signals: bool | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule about the fields."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, at_least_one("title", "private", "signals"))

    @model_validator(mode="after")
    def _something(self) -> "UpdateRoom":
        if self.title is None and self.private is None and self.signals is None:
            raise PydanticCustomError("nothing", "expected at least one of `title`, `private` and `signals`")
        return self


class DeleteRoom(Wire):
    """Delete a room with all of its messages."""

    room: RoomName


class OpenDirect(Wire):
    """Open a private room with one other user."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "bobby"}]})

    user: UserName


class SendSignal(Wire):
    """Send the other listeners of a room something that matters only now, such as the place of a cursor."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"room": "lobby", "name": "cursor", "data": {"x": 120, "y": 45}}]}
    )

    room: RoomName
    name: SignalName
    data: SignalData = None
