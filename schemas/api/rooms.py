"""Rooms, their members and their messages, as services see and change them."""

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, JsonValue, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.base import Timestamp, Wire
from schemas.messages.chat import MESSAGE_EXAMPLE, Message, MessageId
from schemas.messages.rooms import Member, Role
from schemas.messages.system import Content
from schemas.names import RoomName, UserName
from schemas.rules import at_least_one, with_rules

_ROOM: dict[str, JsonValue] = {
    "name": "lobby",
    "title": "The lobby",
    "private": False,
    "direct": False,
    "kept": True,
    "signals": True,
    "epoch": "yj4XTlDc",
    "offset": 17,
    "members": 3,
    "stored_bytes": 4210,
    "created_at": "2026-11-20T23:20:08.785Z",
}


class ServiceRoom(Wire):
    """A room, as a service sees it. A service has made a room that is `kept`: it stays without members."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ROOM]})

    name: str
    title: str | None = None
    private: bool
    direct: bool
    kept: bool
    signals: bool
    epoch: str
    offset: int
    members: int
    stored_bytes: int
    created_at: Timestamp


class RoomsPage(Wire):
    """A page of rooms by name. The last one has no `next_cursor`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rooms": [_ROOM], "next_cursor": "lobby"}]})

    rooms: tuple[ServiceRoom, ...]
    next_cursor: str | None = None


class NameRoom(Wire):
    """A room by its name."""

    room: RoomName


class RoomChange(Wire):
    """A new title, a new privacy, and whether the room takes signals: at least one of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "The lobby"}]})

    title: str | None = Field(default=None, min_length=1, max_length=200)
    private: bool | None = None
    signals: bool | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule about the fields."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, at_least_one("title", "private", "signals"))

    @model_validator(mode="after")
    def _something(self) -> "RoomChange":
        if self.title is None and self.private is None and self.signals is None:
            raise PydanticCustomError("nothing", "expected at least one of `title`, `private` and `signals`")
        return self


class MemberRole(Wire):
    """The role of a member. Without one, a member keeps its own, and a new member gets that of a user that joins."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "moderator"}]})

    role: Role | None = None


class PutMember(MemberRole):
    """Make a user a member of a room, or change a member's role."""

    room: RoomName
    user: UserName


class NameMember(Wire):
    """A member of a room."""

    room: RoomName
    user: UserName


class MemberReply(Wire):
    """A member. `new` says that the membership has just begun."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"room": "lobby", "user": "alice", "role": "moderator", "new": True}]}
    )

    room: str
    user: str
    role: Role
    new: bool


class MembersPage(Wire):
    """A page of members by name. The last one has no `next_cursor`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"members": [{"user": "alice", "role": "moderator", "state": "online"}]}]}
    )

    members: tuple[Member, ...]
    next_cursor: str | None = None


class NameMessage(Wire):
    """A message of a room."""

    room: RoomName
    message_id: MessageId


class MessageContent(Content):
    """The new content of a message."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Something else"}]})


class MessagesPage(Wire):
    """A page of messages, in the direction of the request. `next_cursor` leads on; at the end there is none."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"messages": [MESSAGE_EXAMPLE], "next_cursor": "before-17"}]}
    )

    messages: tuple[Message, ...]
    next_cursor: str | None = None
