"""What a program names: messages and events, by their model or by their type."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway_client import messages
from gateway_client.errors import UnexpectedReply
from gateway_client.events import Wants
from gateway_client.model import (
    AnyEvent,
    ClientMessage,
    Event,
    LocalEvent,
    StreamingMessage,
    read_as,
    to_wire,
    type_arguments,
)

log = logging.getLogger("gateway_client")


def parts_of(message: ClientMessage[Any] | str, data: Any) -> tuple[str, Any, type | None]:
    """Return the type and the data of a message, and its model if it has one."""
    if isinstance(message, str):
        return message, {} if data is None else data, None
    if data is not None:
        raise TypeError("expected a message, or a type and its data")
    return message.type, to_wire(message), type(message)


def reply_as(kind: type | None, type: str, data: Any) -> Any:
    """Return the data of a whole reply to a message with this model."""
    found = (type_arguments(kind, StreamingMessage) or type_arguments(kind, ClientMessage)) if kind else ()
    return _read(found[0] if found else Any, f"the reply to `{type}`", data)


def closing_reply_as(kind: type | None, type: str, data: Any) -> Any:
    """Return the data of the reply that closes a stream."""
    streaming = type_arguments(kind, StreamingMessage) if kind else ()
    return _read(streaming[1], f"the reply to `{type}`", data) if streaming else reply_as(kind, type, data)


def chunk_as(kind: type | None, type: str, data: Any) -> Any:
    """Return the data of a chunk of a stream."""
    streaming = type_arguments(kind, StreamingMessage) if kind else ()
    return _read(streaming[2] if streaming else Any, f"a chunk of `{type}`", data)


def _read(kind: Any, what: str, data: Any) -> Any:
    try:
        return read_as(kind, data)
    except ValueError as error:
        raise UnexpectedReply(f"{what} does not fit its model: {error}") from error


def wanted(kinds: tuple[Any, ...]) -> Wants:
    """Return what a loop wants that has named these kinds of events: models, one type, or none for all."""
    if not kinds:
        return _any
    if isinstance(kinds[0], str) and len(kinds) == 1:
        return partial(_named, kinds[0])
    if not all(isinstance(kind, type) and issubclass(kind, Event) for kind in kinds):
        raise TypeError("expected models of events, or one type")
    return partial(_one_of, {kind.type: kind for kind in kinds})


def _named(name: str, type: str, data: Any) -> AnyEvent | None:
    return AnyEvent(type=type, data=data) if type == name and not isinstance(data, Event) else None


def _one_of(models: Mapping[str, type[Event]], type: str, data: Any) -> Event | None:
    return _event_as(models.get(type), data)


def _any(type: str, data: Any) -> Event | AnyEvent | None:
    if isinstance(data, LocalEvent):
        return None if data.hidden else data
    return _event_as(messages.EVENTS.get(type), data) or AnyEvent(type=type, data=data)


def _event_as(model: type[Event] | None, data: Any) -> Event | None:
    if model is None or isinstance(data, Event) or issubclass(model, LocalEvent):
        return data if model is not None and isinstance(data, model) else None
    try:
        return model.read(data)
    except ValueError as error:
        log.warning("ignored an event `%s` that does not fit its model: %s", model.type, error)
        return None
