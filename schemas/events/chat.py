"""What is said in rooms."""

from typing import ClassVar

from schemas.base import Event
from schemas.messages.chat import Message


class ChatMessage(Event, Message):
    """A message was sent; everyone in the room gets it, in the order of offsets."""

    type: ClassVar[str] = "chat.message"


class ChatEdited(Event, Message):
    """A message was edited; the event has the whole of it."""

    type: ClassVar[str] = "chat.edited"


class ChatDeleted(Event, Message):
    """A message was taken back; what it said is gone."""

    type: ClassVar[str] = "chat.deleted"


class ChatRead(Event):
    """A user has read the room up to an offset."""

    type: ClassVar[str] = "chat.read"

    room: str
    user: str
    offset: int


class ChatTyping(Event):
    """A user began (`typing` is true) or ended to type."""

    type: ClassVar[str] = "chat.typing"

    room: str
    user: str
    typing: bool
