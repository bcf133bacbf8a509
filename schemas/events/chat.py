"""Events about the messages of a room."""

from typing import ClassVar

from schemas.base import Event
from schemas.messages.chat import Message


class ChatMessage(Event, Message):
    """A user sent a message. All listeners of the room get it, in the order of offsets."""

    type: ClassVar[str] = "chat.message"


class ChatEdited(Event, Message):
    """A user edited a message. The event has the whole message."""

    type: ClassVar[str] = "chat.edited"


class ChatDeleted(Event, Message):
    """A user deleted a message. Its content is gone."""

    type: ClassVar[str] = "chat.deleted"


class ChatRead(Event):
    """A user has read the room up to an offset."""

    type: ClassVar[str] = "chat.read"

    room: str
    user: str
    offset: int


class ChatTyping(Event):
    """A user started (`typing` is true) or stopped typing."""

    type: ClassVar[str] = "chat.typing"

    room: str
    user: str
    typing: bool
