"""Sending and reading messages."""

from handlers.base import MsgHandler
from schemas.base import Empty
from schemas.messages.chat import GetHistory, HistoryReply, MessageReply, SendMessage, StartTyping


class SendHandler(MsgHandler[SendMessage, MessageReply]):
    """Says something in a room."""

    schema = SendMessage
    scope = "chat:write"

    async def handle(self, data: SendMessage) -> MessageReply:
        """Answer once the message is on disk."""
        message = await self.session.messages.send(data.room, text=data.text, body=data.body)
        return MessageReply(message=message)


class HistoryHandler(MsgHandler[GetHistory, HistoryReply]):
    """Reads a page of a room's log."""

    schema = GetHistory
    scope = "chat:read"

    async def handle(self, data: GetHistory) -> HistoryReply:
        """Answer with messages, oldest first."""
        return await self.session.messages.history(data.room, before=data.before, after=data.after, limit=data.limit)


class TypingHandler(MsgHandler[StartTyping, Empty]):
    """Shows a room that the user is typing."""

    schema = StartTyping
    scope = "chat:write"

    async def handle(self, data: StartTyping) -> Empty:
        """Answer at once; the others are told."""
        await self.session.presence.typing(data.room)
        return Empty()
