"""The table of message types, and the factory that reads it."""

from collections.abc import Mapping
from inspect import isabstract
from typing import Any

from pydantic import ValidationError

from handlers.auth import AuthHandler, RefreshHandler
from handlers.base import MsgHandler, Refusal, Session, ends_connection
from handlers.chat import DeleteHandler, EditHandler, HistoryHandler, ReadHandler, SendHandler, TypingHandler
from handlers.errors import UnknownType, ValidationFailed
from handlers.presence import GetPresenceHandler
from handlers.rooms import (
    CreateRoomHandler,
    DeleteRoomHandler,
    InviteHandler,
    JoinRoomHandler,
    KickHandler,
    LeaveRoomHandler,
    ListMembersHandler,
    ListRoomsHandler,
    OpenDirectHandler,
    SetRoleHandler,
    UpdateRoomHandler,
)
from handlers.system import AnnounceHandler, ByeHandler, EchoHandler, PingHandler
from schemas.base import MAX_TYPE_LENGTH, ClientMessage, is_correlation_id

Handlers = Mapping[str, type[MsgHandler[Any, Any]]]

HANDLERS: Handlers = {
    "ping": PingHandler,
    "echo": EchoHandler,
    "bye": ByeHandler,
    "auth": AuthHandler,
    "auth.refresh": RefreshHandler,
    "announce": AnnounceHandler,
    "room.create": CreateRoomHandler,
    "room.join": JoinRoomHandler,
    "room.leave": LeaveRoomHandler,
    "room.list": ListRoomsHandler,
    "room.members": ListMembersHandler,
    "room.invite": InviteHandler,
    "room.kick": KickHandler,
    "room.role": SetRoleHandler,
    "room.update": UpdateRoomHandler,
    "room.delete": DeleteRoomHandler,
    "direct.open": OpenDirectHandler,
    "chat.send": SendHandler,
    "chat.edit": EditHandler,
    "chat.delete": DeleteHandler,
    "chat.history": HistoryHandler,
    "chat.read": ReadHandler,
    "chat.typing": TypingHandler,
    "presence.get": GetPresenceHandler,
}


_KEYS = frozenset(ClientMessage.model_fields)


class MsgHandlerFactory:
    """Finds the handler of a message. An application passes its own table to add handlers."""

    def __init__(self, handlers: Handlers = HANDLERS) -> None:
        """Raise `TypeError` if a value of the table is no handler."""
        for type_, handler in handlers.items():
            _check_handler(type_, handler)
        self.handlers = handlers

    def get_handler(self, *, session: Session, request_data: Mapping[str, object]) -> MsgHandler[Any, Any]:
        """Return the handler of a decoded message, or for a wrong one a handler that answers with the error."""
        kind, given_id = request_data.get("type"), request_data.get("id")
        handler = self.handlers.get(kind) if isinstance(kind, str) else None
        # This check is quick and passes nearly every message. pydantic finds what is wrong with the others.
        if handler is not None and (given_id is None or is_correlation_id(given_id)) and request_data.keys() <= _KEYS:
            try:
                return handler(session, given_id, request_data.get("data"))
            except BaseException as error:
                if ends_connection(error):
                    raise
                return Refusal(session, given_id, error)
        try:
            message = ClientMessage.model_validate(request_data)
        except ValidationError as error:
            return Refusal(session, readable_id(request_data), ValidationFailed.from_pydantic(error))
        # The message is right in all else, so only its handler is missing.
        return Refusal(session, message.id, UnknownType(message.type, self.handlers))


def readable_id(request_data: Mapping[str, object]) -> int | str | None:
    """Return the id of a message that is wrong elsewhere, so that its sender can recognise it."""
    try:
        return ClientMessage.model_validate({"type": "unknown", "id": request_data.get("id")}).id
    except ValidationError:
        return None


def _check_handler(type_: object, handler: object) -> None:
    if not isinstance(type_, str) or not 1 <= len(type_) <= MAX_TYPE_LENGTH:
        raise TypeError(f"handlers: expected message types of 1 to {MAX_TYPE_LENGTH} characters, got {type_!r}")
    if not isinstance(handler, type) or not issubclass(handler, MsgHandler) or isabstract(handler):
        raise TypeError(f"handlers: expected a subclass of MsgHandler with a `handle` for {type_!r}, got {handler!r}")
    if not hasattr(getattr(handler, "schema", None), "__pydantic_validator__"):
        raise TypeError(f"handlers: expected a pydantic model as the `schema` of {handler.__name__}, for {type_!r}")
