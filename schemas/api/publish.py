"""Publishing: a message or an event, to rooms, to users or to all."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.base import MAX_TYPE_LENGTH, Wire
from schemas.errors import ErrorBody
from schemas.messages.chat import ClientId
from schemas.messages.system import Content
from schemas.names import RoomName, UserName
from schemas.rules import exactly_one, only_with, with_rules

MAX_TARGETS = 100


_NAMES = Field(min_length=1, max_length=MAX_TARGETS, json_schema_extra={"uniqueItems": True})


def _true(value: bool) -> bool:
    if not value:
        raise PydanticCustomError("only_true", "expected true")
    return value


# Not `Literal[True]`, which takes 1 as well.
OnlyTrue = Annotated[bool, AfterValidator(_true), WithJsonSchema({"type": "boolean", "const": True})]


class NewMessage(Content):
    """A message of a service. The log of each room keeps it. The same `client_id` again stores nothing new."""

    client_id: ClientId | None = None


class NamedEvent(Wire):
    """An event with a type and data of the service's own. No log keeps it."""

    type: str = Field(min_length=1, max_length=MAX_TYPE_LENGTH, examples=["orders.changed"])
    data: Any = Field(default_factory=dict, examples=[{"id": 7}])


class Publish(Wire):
    """A message for rooms, or an event for rooms, for users or for `all` connections."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"rooms": ["lobby"], "message": {"text": "Order 7 is paid", "client_id": "order-7"}},
                {"users": ["alice"], "event": {"type": "orders.changed", "data": {"id": 7}}},
                {"all": True, "event": {"type": "prices.changed"}},
            ],
        }
    )

    rooms: Annotated[list[RoomName], _NAMES] | None = None
    users: Annotated[list[UserName], _NAMES] | None = None
    all: OnlyTrue | None = None
    message: NewMessage | None = None
    event: NamedEvent | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rules about the targets and about what they get."""
        targets, content = exactly_one("rooms", "users", "all"), exactly_one("message", "event")
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, targets, content, only_with("message", "rooms"))

    @field_validator("rooms", "users")
    @classmethod
    def _distinct(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) < len(names):
            raise PydanticCustomError("twice", "expected each name once")
        return names

    @model_validator(mode="after")
    def _one_of_each(self) -> "Publish":
        if (self.rooms is not None) + (self.users is not None) + (self.all is not None) != 1:
            raise PydanticCustomError("targets", "expected exactly one of `rooms`, `users` and `all`")
        if (self.message is None) == (self.event is None):
            raise PydanticCustomError("content", "expected either `message` or `event`, and not both")
        if self.message is not None and self.rooms is None:
            raise PydanticCustomError(
                "no_log", "expected `rooms` for a message, which a log keeps; users and `all` get an `event`"
            )
        return self


_PUBLISHED: dict[str, JsonValue] = {
    "room": "lobby",
    "id": "yj4XTlDc.1",
    "epoch": "yj4XTlDc",
    "offset": 1,
    "duplicate": False,
}


class Published(Wire):
    """The outcome for one target: the place of the message in the room's log, or an error.

    For `all`, `reached` is the number of connections.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_PUBLISHED]})

    room: str | None = None
    user: str | None = None
    all: bool | None = None
    id: str | None = None
    epoch: str | None = None
    offset: int | None = None
    duplicate: bool | None = None
    reached: int | None = None
    error: ErrorBody | None = None


class PublishReply(Wire):
    """The outcome for each target, in the order of the request."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"results": [_PUBLISHED]}]})

    results: tuple[Published, ...]
