"""Events about the messages of a room."""

from typing import Any, ClassVar, Literal

from schemas.base import Event
from schemas.messages.chat import Message

_SENT = {
    "id": "yj4XTlDc.57",
    "room": "lobby",
    "epoch": "yj4XTlDc",
    "offset": 57,
    "changed": 57,
    "sender": "alice",
    "text": "Hello",
    "sent_at": "2026-11-20T23:20:08.804Z",
    "deleted": False,
}
_EDITED = _SENT | {"changed": 58, "text": "Hello all", "edited_at": "2026-11-20T23:21:30.112Z"}
_APPENDED = {
    "id": "yj4XTlDc.57",
    "room": "lobby",
    "epoch": "yj4XTlDc",
    "offset": 57,
    "changed": 58,
    "at": 5,
    "text": " world",
}
_DELETED = {key: value for key, value in _SENT.items() if key != "text"} | {"changed": 59, "deleted": True}


class ChatMessage(Event, Message):
    """A user sent a message. All listeners of the room get it, in the order of offsets."""

    type: ClassVar[str] = "chat.message"
    examples: ClassVar[tuple[Any, ...]] = (_SENT,)


class ChatEdited(Event, Message):
    """A user edited a message. The event has the whole message."""

    type: ClassVar[str] = "chat.edited"
    examples: ClassVar[tuple[Any, ...]] = (_EDITED,)


class ChatAppended(Event):
    """The text of a message has grown. `text` follows its first `at` characters. After `done`, it grows no more."""

    type: ClassVar[str] = "chat.appended"
    examples: ClassVar[tuple[Any, ...]] = (_APPENDED, _APPENDED | {"changed": 59, "at": 11, "text": "!", "done": True})

    id: str
    room: str
    epoch: str
    offset: int
    changed: int
    at: int
    text: str
    done: Literal[True] | None = None


class ChatDeleted(Event, Message):
    """A user deleted a message. Its content is gone."""

    type: ClassVar[str] = "chat.deleted"
    examples: ClassVar[tuple[Any, ...]] = (_DELETED,)


class ChatRead(Event):
    """A user has read the room up to an offset."""

    type: ClassVar[str] = "chat.read"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby", "user": "alice", "offset": 57},)

    room: str
    user: str
    offset: int


class ChatTyping(Event):
    """A user started (`typing` is true) or stopped typing."""

    type: ClassVar[str] = "chat.typing"
    examples: ClassVar[tuple[Any, ...]] = ({"room": "lobby", "user": "alice", "typing": True},)

    room: str
    user: str
    typing: bool
