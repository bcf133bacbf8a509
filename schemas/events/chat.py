"""What is said in rooms."""

from typing import ClassVar

from schemas.base import Event
from schemas.messages.chat import Message


class ChatMessage(Event, Message):
    """A message was sent; everyone in the room gets it, in the order of offsets."""

    type: ClassVar[str] = "chat.message"


class ChatTyping(Event):
    """A user began (`typing` is true) or ended to type."""

    type: ClassVar[str] = "chat.typing"

    room: str
    user: str
    typing: bool
