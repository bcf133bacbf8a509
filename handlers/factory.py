"""The factory: it finds the handler of each message in the registry's table."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from handlers.base import MsgHandler, Refusal, Session, ends_connection
from handlers.errors import UnknownType, ValidationFailed
from handlers.registry import BUILT_IN, Registry
from schemas.base import ClientMessage, is_correlation_id

TRACEPARENT = "traceparent"
_KEYS = frozenset(ClientMessage.model_fields) - {TRACEPARENT}

MakeHandler = Callable[[Session, int | str | None, object], MsgHandler[Any, Any]]
"""A class of handlers, or a function that makes one: of the session, the message's id, and its data."""

Fallback = Callable[[str], MakeHandler | None]
"""A function that finds what handles a type that the registry lacks, or None."""


class MsgHandlerFactory:
    """Finds the handler of a message. An application passes its own registry to add handlers."""

    def __init__(self, registry: Registry = BUILT_IN, fallback: Fallback | None = None) -> None:
        self.registry = registry
        self.handlers = dict(registry.handlers)
        self._fallback = fallback

    def get_handler(self, *, session: Session, request_data: Mapping[str, object]) -> MsgHandler[Any, Any]:
        """Return the handler of a decoded message, or for a wrong one a handler that answers with the error."""
        kind, given_id = request_data.get("type"), request_data.get("id")
        handler: MakeHandler | None = self.handlers.get(kind) if isinstance(kind, str) else None
        if handler is None and self._fallback is not None and isinstance(kind, str):
            handler = self._fallback(kind)
        stream = request_data.get("stream", False)
        # This check is quick and passes nearly every message. pydantic finds what is wrong with the others.
        if (
            handler is not None
            and (given_id is None or is_correlation_id(given_id))
            and (stream is False or (stream is True and given_id is not None))
            and request_data.keys() <= _KEYS
        ):
            try:
                made = handler(session, given_id, request_data.get("data"))
            except BaseException as error:
                if ends_connection(error):
                    raise
                return Refusal(session, given_id, error)
            if stream:
                made.stream = True
            return made
        if TRACEPARENT in request_data:  # here, so that other messages are not searched for it
            rest = {key: value for key, value in request_data.items() if key != TRACEPARENT}
            found = self.get_handler(session=session, request_data=rest)
            self._note_trace(found, request_data[TRACEPARENT])
            return found
        try:
            message = ClientMessage.model_validate(request_data)
        except ValidationError as error:
            return Refusal(session, readable_id(request_data), ValidationFailed.from_pydantic(error))
        # The message is right in all else, so only its handler is missing.
        return Refusal(session, message.id, UnknownType(message.type, self.handlers))

    def _note_trace(self, handler: MsgHandler[Any, Any], traceparent: object) -> None:
        """Do nothing with the trace that a message belongs to. A subclass may."""


def readable_id(request_data: Mapping[str, object]) -> int | str | None:
    """Return the id of a message that is wrong elsewhere, so that its sender can recognise it."""
    try:
        return ClientMessage.model_validate({"type": "unknown", "id": request_data.get("id")}).id
    except ValidationError:
        return None
