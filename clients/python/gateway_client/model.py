"""The bases of messages, replies and events.

A model is strict where a program makes it: an unknown field or a wrong type is an error. `read` is tolerant: a newer
gateway may send more than this client knows.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

Reply = TypeVar("Reply")
Whole = TypeVar("Whole")
Chunk = TypeVar("Chunk")


class Wire(BaseModel):
    """The base of all data: immutable, without implicit conversions."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
        defer_build=True,  # a program uses few of the models, and building all would slow down its start
    )

    @classmethod
    def read(cls, data: Any) -> Self:
        """Return the model of data from the wire. Ignore unknown keys, and raise `ValueError` for what does not fit."""
        return cls.model_validate(data, extra="ignore")


class ClientMessage(Wire, Generic[Reply]):
    """A message to the gateway. `type` names its handler, and `Reply` is the model of its reply's data."""

    type: ClassVar[str]


class StreamingMessage(ClientMessage[Whole], Generic[Whole, Reply, Chunk]):
    """A message of a type that streams: chunks and then a `Reply`. Without a stream, the answer is a `Whole`."""


class Event(Wire):
    """What the gateway sends by itself. `type` names it."""

    type: ClassVar[str]


class LocalEvent(Event):
    """What the client itself reports, in the order of the other events. No gateway can send it."""

    hidden: ClassVar[bool] = False
    """Whether only a loop that names it gets it."""


class AnyEvent(Wire):
    """An event as it came, of a type without a model or one that is asked for by name."""

    type: str
    data: Any = None


class Root(Wire):
    """Data that is no object with known fields. Its model has the one field `root`, which is not on the wire."""

    root: Any

    @classmethod
    def read(cls, data: Any) -> Self:
        """Return the model of data from the wire."""
        return cls.model_validate({"root": data}, extra="ignore")


def to_wire(message: Wire) -> Any:
    """Return data as JSON: what was set, also if it was set to None."""
    data = message.model_dump(mode="json", exclude_unset=True)
    return data["root"] if isinstance(message, Root) else data


def read_as(kind: Any, data: Any) -> Any:
    """Return data of the wire as a type. Raise `ValueError` for what does not fit."""
    return data if kind is Any else _adapter(kind).validate_python(data, extra="ignore")


@lru_cache(maxsize=1024)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def type_arguments(message: type, origin: type) -> tuple[Any, ...]:
    """Return what stands in brackets behind a generic base of a class, or nothing."""
    for base in message.__mro__:
        metadata: Mapping[str, Any] = getattr(base, "__pydantic_generic_metadata__", {})
        if metadata.get("origin") is origin:
            return tuple(metadata["args"])
    return ()
