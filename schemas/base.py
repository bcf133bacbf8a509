"""The frames of the protocol: message, reply, error, chunk and event."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, TypeGuard

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from schemas.json_schema import as_sent, left_out_by_condition, without_titles
from schemas.rules import present, with_rules

MAX_TYPE_LENGTH = 64
"""The most characters in the `type` of a message or event."""


class DefinitionError(TypeError):
    """A handler, an event, an error or a registry that is written wrong. The text is one line for its developer."""


def place_of(definition: type) -> str:
    """Return where a class is defined, as `package.module.Class`."""
    return f"{definition.__module__}.{definition.__qualname__}"


class Wire(BaseModel):
    """The base of all wire data: immutable, without implicit conversions or unknown keys."""

    # A NaN must not become a null unnoticed: the encoder of frames refuses it.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema of the data as it goes over the wire. Subclasses with rules add them."""
        found = handler(schema)
        own = handler.resolve_ref_schema(found)
        without_titles(own, cls.__name__)
        if handler.mode == "serialization":
            as_sent(own, handler.resolve_ref_schema, sometimes=left_out_by_condition(cls))
        return found


class Empty(Wire):
    """No data, for a message that needs none or a reply that has none."""


def is_correlation_id(value: object) -> TypeGuard[int | str]:
    """Return whether a value may be the id of a message: a string of 1 to 64 characters, or an integer."""
    if isinstance(value, str):
        return 1 <= len(value) <= 64
    # bool is an int to Python, but not to a client.
    return isinstance(value, int) and not isinstance(value, bool)


def _check_id(value: object) -> object:
    if is_correlation_id(value):
        return value
    raise PydanticCustomError("correlation_id", "expected a string of 1 to 64 characters or an integer")


CorrelationId = Annotated[
    int | str,
    BeforeValidator(_check_id),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": 64}]}),
]


TRACEPARENT_SCHEMA: dict[str, Any] = {
    "description": "The span that the message belongs to, as in W3C Trace Context. A wrong value is ignored.",
    "examples": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
}


class ClientMessage(Wire):
    """A message from a client. Its `type` chooses the handler; its `id`, if any, asks for a reply."""

    type: str = Field(min_length=1, max_length=MAX_TYPE_LENGTH)
    id: CorrelationId | None = None
    data: Any = None
    stream: bool = False
    """Whether the answer comes in chunks, if its handler streams."""
    traceparent: Annotated[Any, WithJsonSchema(TRACEPARENT_SCHEMA)] = None
    """The span that the message belongs to (W3C Trace Context). The standard says to ignore a wrong value."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule that `stream` needs an `id`."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, {"anyOf": [{"properties": {"stream": {"const": False}}}, present("id")]})

    @field_validator("stream")
    @classmethod
    def _has_an_id(cls, stream: bool, info: ValidationInfo) -> bool:
        if stream and "id" in info.data and info.data["id"] is None:
            raise PydanticCustomError("stream_without_id", "expected an `id` beside `stream`: each chunk has it")
        return stream


class FieldError(Wire):
    """One wrong field of a message: a path such as `data.text`, and what the gateway expected there."""

    field: str
    message: str


class Event(Wire):
    """An event: the `data` of a frame that answers no message, so without an `id`."""

    type: ClassVar[str]
    examples: ClassVar[tuple[Any, ...]] = ()
    """Examples of `data`, which documents show."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Raise `DefinitionError` for a `type` that the protocol cannot carry."""
        super().__pydantic_init_subclass__(**options)
        kind = getattr(cls, "type", "an_event_without_one")
        if not isinstance(kind, str) or not re.fullmatch(EVENT_TYPE, kind) or kind in ANSWERS:
            raise DefinitionError(
                f'{place_of(cls)}.type: expected 1 to {MAX_TYPE_LENGTH} visible ASCII characters but no " and no \\,'
                f" and none of `reply`, `error` and `chunk`, got {kind!r}"
            )


EVENT_TYPE = rf"[\x21\x23-\x5B\x5D-\x7E]{{1,{MAX_TYPE_LENGTH}}}"
"""The form of an event's type."""

ANSWERS = {"reply", "error", "chunk"}
"""The types of answers, which no event has."""


Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def timestamp(milliseconds: int) -> str:
    """Return milliseconds since 1970 in the protocol's form: RFC 3339, UTC, with milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    # Messages of the moment, and messages of one page, mostly lie in the same seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
