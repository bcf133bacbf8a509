"""The registry: the messages, events and errors that a gateway has.

`BUILT_IN` has the gateway's own. `BUILT_IN | Registry(handlers={"dice.roll": RollHandler})` adds to it. The factory,
the page at `/` and the documents read the registry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from handlers.auth import AuthHandler, RefreshHandler
from handlers.base import MsgHandler
from handlers.calls import CancelHandler
from handlers.chat import (
    AppendHandler,
    DeleteHandler,
    EditHandler,
    HistoryHandler,
    ReadHandler,
    SendHandler,
    TypingHandler,
)
from handlers.definitions import check_error, check_event, check_handler, merged
from handlers.errors import AppError
from handlers.presence import GetPresenceHandler, SetPresenceHandler
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
    ResumeRoomsHandler,
    SetRoleHandler,
    SignalHandler,
    UpdateRoomHandler,
)
from handlers.system import AnnounceHandler, ByeHandler, EchoHandler, PingHandler
from schemas.base import DefinitionError, Event
from schemas.events.chat import ChatAppended, ChatDeleted, ChatEdited, ChatMessage, ChatRead, ChatTyping
from schemas.events.presence import PresenceChanged
from schemas.events.rooms import (
    Resync,
    RoomAdded,
    RoomDeleted,
    RoomInvited,
    RoomJoined,
    RoomLeft,
    RoomRole,
    RoomSignal,
    RoomUpdated,
)
from schemas.events.system import Announcement, Bye, TokenExpiring, Welcome

Handlers = Mapping[str, type[MsgHandler[Any, Any]]]


@dataclass(frozen=True)
class Registry:
    """Handlers by message type, events, and errors with a status of their own.

    `a | b` has all of both. Raises `DefinitionError` for a class that cannot be used, and for a type, a status or a
    name that two classes take; the text names both. The same class may come twice.
    """

    handlers: Handlers = field(default_factory=dict)
    events: tuple[type[Event], ...] = ()
    errors: tuple[type[AppError], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.handlers, Mapping):
            raise DefinitionError(f"handlers: expected a mapping of types to handlers, got {self.handlers!r}")
        for type_, handler in self.handlers.items():
            check_handler(type_, handler)
        for event in _items("events", self.events):
            check_event(event)
        for error in _items("errors", self.errors):
            check_error(error)
        merged("the event type", ((event.type, event) for event in self.events))
        merged("the status", ((error.status, error) for error in self.errors))
        merged("the error name", ((error.name, error) for error in self.errors))

    def __or__(self, other: "Registry") -> "Registry":
        if not isinstance(other, Registry):
            return NotImplemented
        return Registry(
            handlers=merged("the message type", (*self.handlers.items(), *other.handlers.items())),
            events=tuple(dict.fromkeys((*self.events, *other.events))),
            errors=tuple(dict.fromkeys((*self.errors, *other.errors))),
        )


def _items(name: str, value: object) -> tuple[Any, ...] | list[Any]:
    if not isinstance(value, tuple | list):
        raise DefinitionError(f"{name}: expected a tuple of classes, got {value!r}; a tuple of one ends in a comma")
    return value


HANDLERS: Handlers = {
    "ping": PingHandler,
    "echo": EchoHandler,
    "bye": ByeHandler,
    "cancel": CancelHandler,
    "auth": AuthHandler,
    "auth.refresh": RefreshHandler,
    "announce": AnnounceHandler,
    "room.create": CreateRoomHandler,
    "room.join": JoinRoomHandler,
    "room.resume": ResumeRoomsHandler,
    "room.leave": LeaveRoomHandler,
    "room.list": ListRoomsHandler,
    "room.members": ListMembersHandler,
    "room.invite": InviteHandler,
    "room.kick": KickHandler,
    "room.role": SetRoleHandler,
    "room.update": UpdateRoomHandler,
    "room.delete": DeleteRoomHandler,
    "room.signal": SignalHandler,
    "direct.open": OpenDirectHandler,
    "chat.send": SendHandler,
    "chat.append": AppendHandler,
    "chat.edit": EditHandler,
    "chat.delete": DeleteHandler,
    "chat.history": HistoryHandler,
    "chat.read": ReadHandler,
    "chat.typing": TypingHandler,
    "presence.get": GetPresenceHandler,
    "presence.set": SetPresenceHandler,
}

BUILT_IN = Registry(
    handlers=HANDLERS,
    events=(
        Welcome,
        TokenExpiring,
        Bye,
        Announcement,
        ChatMessage,
        ChatAppended,
        ChatEdited,
        ChatDeleted,
        ChatRead,
        ChatTyping,
        PresenceChanged,
        RoomJoined,
        RoomLeft,
        RoomInvited,
        RoomAdded,
        RoomRole,
        RoomSignal,
        RoomUpdated,
        RoomDeleted,
        Resync,
    ),
)


def registry_of(handlers: Registry | Handlers) -> Registry:
    """Return the registry. A bare mapping is a whole table of handlers, beside the built-in events."""
    return handlers if isinstance(handlers, Registry) else replace(BUILT_IN, handlers=handlers)
