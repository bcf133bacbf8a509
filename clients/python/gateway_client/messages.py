"""The messages, replies and events of the gateway."""

from typing import Any, ClassVar

from gateway_client.model import ClientMessage, Event, Wire


class Message(Wire):
    """A message, as all listeners of the room see it."""

    id: str
    room: str
    epoch: str
    offset: int
    changed: int
    sender: str
    text: str | None = None
    body: Any = None
    reply_to: str | None = None
    client_id: str | None = None
    sent_at: str
    edited_at: str | None = None
    done: bool | None = None
    deleted: bool = False


class SendReply(Wire):
    """The message, which is now on disk. `duplicate` says that an earlier send has stored it."""

    message: Message
    duplicate: bool = False


class SendMessage(ClientMessage[SendReply]):
    """Send a message to a room. The same `client_id` again, within 24 hours, stores nothing new."""

    type: ClassVar[str] = "chat.send"

    room: str
    text: str | None = None
    body: Any = None
    reply_to: str | None = None
    client_id: str | None = None


class ChatMessage(Event, Message):
    """A user sent a message. All listeners of the room get it, in the order of offsets."""

    type: ClassVar[str] = "chat.message"


class Welcome(Event):
    """The first frame of an accepted connection."""

    type: ClassVar[str] = "welcome"

    connection: str
    user: str
    scopes: list[str]
    server_time: str
    token_expires_at: str
    heartbeat_seconds: float
    max_message_bytes: int
    protocol: int = 1


MESSAGES: dict[str, type[ClientMessage[Any]]] = {SendMessage.type: SendMessage}
EVENTS: dict[str, type[Event]] = {each.type: each for each in (ChatMessage, Welcome)}
