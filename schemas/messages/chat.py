"""Messages in rooms."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, JsonValue, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.base import Timestamp, Wire
from schemas.messages.system import MAX_TEXT, Content
from schemas.names import RoomName
from schemas.rules import not_both, with_rules

MAX_OFFSET = 2**53  # every JSON reader represents it exactly

MAX_GROWN_TEXT = 32_000
"""The most characters of a text that grows, as `chat.append` lets it."""


MessageId = Annotated[str, Field(min_length=1, max_length=64, examples=["yj4XTlDc.17"])]
ClientId = Annotated[str, Field(min_length=1, max_length=64)]


MESSAGE_EXAMPLE: dict[str, JsonValue] = {
    "id": "yj4XTlDc.17",
    "room": "lobby",
    "epoch": "yj4XTlDc",
    "offset": 17,
    "changed": 17,
    "sender": "alice",
    "text": "Hello",
    "sent_at": "2026-11-20T23:20:08.785Z",
    "deleted": False,
}


_DELETED: dict[str, JsonValue] = {key: value for key, value in MESSAGE_EXAMPLE.items() if key != "text"} | {
    "changed": 19,
    "deleted": True,
}


class Message(Wire):
    """A message, as all listeners of the room see it.

    `offset` is its place in the room's log, and `changed` is the offset of its last event. They are equal until an edit
    or a deletion, or until the text grows. `done` says that it has grown to its end. The gateway sets everything but
    the content. Only the sender sees `client_id`.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [MESSAGE_EXAMPLE]})

    id: str = Field(description="The name of the message, which stays the same when it changes.")
    room: str
    epoch: str = Field(description="The identity of the room's log. Another one means that the log has begun anew.")
    offset: int = Field(description="The place of the message in the room's log.")
    changed: int = Field(description="The offset of the last event about it: a change is newer if this is higher.")
    sender: str = Field(description="The name of a user, or `service:` and the name of a service.")
    text: str | None = Field(default=None, description="The content, unless `body` is. A deleted message has neither.")
    body: Any = Field(default=None, description="The content, if it is JSON in place of a text.")
    reply_to: str | None = Field(default=None, description="The `id` of the message that this one answers.")
    client_id: str | None = Field(default=None, description="The sender's own name for it, which no other user sees.")
    sent_at: Timestamp = Field(description="When the gateway stored it.")
    edited_at: Timestamp | None = Field(default=None, description="When it was last edited.")
    done: Literal[True] | None = Field(default=None, description="There when a message that grew has come to its end.")
    deleted: bool = Field(default=False, description="Whether it has been deleted.")


class SendMessage(Content):
    """Send a message to a room. The same `client_id` again, within 24 hours, stores nothing new."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"room": "lobby", "text": "Hello"},
                {"room": "lobby", "body": {"any": "JSON"}, "client_id": "a1"},
            ]
        }
    )

    room: RoomName
    reply_to: MessageId | None = Field(default=None, description="The `id` of the message that this one answers.")
    client_id: ClientId | None = Field(
        default=None, description="A name of your own, so that a second send stores nothing."
    )


class SendReply(Wire):
    """The message, which is now on disk. `duplicate` says that an earlier send has stored it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message": MESSAGE_EXAMPLE | {"client_id": "a1"}, "duplicate": False}]}
    )

    message: Message
    duplicate: bool = False


class EditMessage(Content):
    """Change the content of a message."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"room": "lobby", "message_id": "yj4XTlDc.17", "text": "Something else"}]}
    )

    room: RoomName
    message_id: MessageId


class Piece(Wire):
    """More text for the end of a message. With `at`, only if the text has this length; with `done`, as the last."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": " world", "at": 5, "done": True}]})

    text: str = Field(max_length=MAX_TEXT)
    at: int | None = Field(default=None, ge=0, le=MAX_OFFSET)
    done: bool = False

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule about an empty text."""
        some, last = {"text": {"minLength": 1}}, {"done": {"const": True}}
        found = super().__get_pydantic_json_schema__(schema, handler)
        rule = {"anyOf": [{"properties": some}, {"properties": last, "required": ["done"]}]}
        return with_rules(found, handler, rule)

    @model_validator(mode="after")
    def _some_text(self) -> "Piece":
        if not self.text and not self.done:
            raise PydanticCustomError("no_text", "expected a text; it may be empty only with `done`")
        return self


class AppendMessage(Piece):
    """Add text to the end of a message of one's own, which so grows piece by piece."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"room": "lobby", "message_id": "yj4XTlDc.17", "text": " world", "at": 5},
                {"room": "lobby", "message_id": "yj4XTlDc.17", "text": "", "done": True},
            ]
        }
    )

    room: RoomName
    message_id: MessageId


class AppendReply(Wire):
    """The piece is on disk. `length` is the text's length after it, in characters: the `at` of the next piece."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"message_id": "yj4XTlDc.17", "changed": 18, "length": 11, "done": True}]}
    )

    message_id: str
    changed: int
    length: int
    done: bool


class DeleteMessage(Wire):
    """Delete a message."""

    room: RoomName
    message_id: MessageId


class MessageReply(Wire):
    """The message in its new state, which is now on disk."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"message": MESSAGE_EXAMPLE | {"changed": 18, "text": "Hi", "edited_at": "2026-11-20T23:21:30.112Z"}},
                {"message": _DELETED},
            ]
        }
    )

    message: Message


class MarkRead(Wire):
    """Mark the messages of a room as read, up to an offset."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"room": "lobby", "offset": 17}]})

    room: RoomName
    offset: int = Field(ge=0, le=MAX_OFFSET)


class GetHistory(Wire):
    """Read a page of a room's log: the messages `before` or `after` an offset, or the newest."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"room": "lobby"}, {"room": "lobby", "before": 17, "limit": 20}]}
    )

    room: RoomName
    before: int | None = Field(default=None, ge=1, le=MAX_OFFSET)
    after: int | None = Field(default=None, ge=0, le=MAX_OFFSET)
    limit: int = Field(default=50, ge=1, le=100)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule about the two directions."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, not_both("before", "after"))

    @model_validator(mode="after")
    def _one_direction(self) -> "GetHistory":
        if self.before is not None and self.after is not None:
            raise PydanticCustomError("direction", "expected `before` or `after`, and not both")
        return self


class HistoryReply(Wire):
    """Messages, oldest first, and whether there are more in the requested direction."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"messages": [MESSAGE_EXAMPLE], "has_more": False}]})

    messages: tuple[Message, ...]
    has_more: bool


class StartTyping(Wire):
    """Show the other listeners that the user is typing. The display ends by itself."""

    room: RoomName
