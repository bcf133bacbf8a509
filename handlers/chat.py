"""Handlers that send, change and read messages."""

from collections.abc import Awaitable, Coroutine
from typing import Any

from handlers.base import MsgHandler, ends_connection
from schemas.base import Empty
from schemas.messages.chat import (
    AppendMessage,
    AppendReply,
    DeleteMessage,
    EditMessage,
    GetHistory,
    HistoryReply,
    MarkRead,
    MessageReply,
    SendMessage,
    SendReply,
    StartTyping,
)


class SendHandler(MsgHandler[SendMessage, SendReply]):
    """Sends a message to a room."""

    schema = SendMessage
    scope = "chat:write"

    async def handle(self, data: SendMessage) -> SendReply:
        """Return the message after it is on disk."""
        return await self.session.messages.send(
            data.room, text=data.text, body=data.body, reply_to=data.reply_to, client_id=data.client_id
        )


class EditHandler(MsgHandler[EditMessage, MessageReply]):
    """Changes the content of a message."""

    schema = EditMessage
    scope = "chat:write"

    async def handle(self, data: EditMessage) -> MessageReply:
        """Return the message after the change is on disk."""
        return MessageReply(
            message=await self.session.messages.edit(data.room, data.message_id, text=data.text, body=data.body)
        )


class AppendHandler(MsgHandler[AppendMessage, AppendReply]):
    """Adds text to the end of a message: pieces are taken in their order, and answered when they are on disk.

    So a client may send the next piece, and anything else, while a piece waits for others to share its change.
    """

    schema = AppendMessage
    scope = "chat:write"
    _data: AppendMessage | None = None
    _taken: Awaitable[AppendReply] | BaseException

    def run(self) -> Coroutine[Any, Any, None]:
        """Take the piece, and answer it later."""
        return self._take()

    async def _take(self) -> None:
        try:
            self._data = data = self._validated()
            self._taken = await self.session.messages.begin_append(
                data.room, data.message_id, data.text, at=data.at, done=data.done
            )
        except BaseException as error:
            if ends_connection(error):
                raise
            self._taken = error
            await self._answer()
        else:
            await self.session.answer_later(self, self._answer)

    async def handle(self, data: AppendMessage) -> AppendReply:
        """Return after the piece is on disk."""
        if isinstance(self._taken, BaseException):
            raise self._taken
        return await self._taken

    def _validated(self) -> AppendMessage:
        return super()._validated() if self._data is None else self._data


class DeleteHandler(MsgHandler[DeleteMessage, MessageReply]):
    """Deletes a message."""

    schema = DeleteMessage
    scope = "chat:write"

    async def handle(self, data: DeleteMessage) -> MessageReply:
        """Return the message after the change is on disk."""
        return MessageReply(message=await self.session.messages.delete(data.room, data.message_id))


class ReadHandler(MsgHandler[MarkRead, Empty]):
    """Marks the messages of a room as read, up to an offset."""

    schema = MarkRead
    scope = "chat:read"

    async def handle(self, data: MarkRead) -> Empty:
        """Return after the mark is stored."""
        await self.session.messages.mark_read(data.room, data.offset)
        return Empty()


class HistoryHandler(MsgHandler[GetHistory, HistoryReply]):
    """Reads a page of a room's log."""

    schema = GetHistory
    scope = "chat:read"

    async def handle(self, data: GetHistory) -> HistoryReply:
        """Return messages, oldest first."""
        return await self.session.messages.history(data.room, before=data.before, after=data.after, limit=data.limit)


class TypingHandler(MsgHandler[StartTyping, Empty]):
    """Shows a room that the user is typing."""

    schema = StartTyping
    scope = "chat:write"

    async def handle(self, data: StartTyping) -> Empty:
        """Return at once; the other listeners get an event."""
        await self.session.presence.typing(data.room)
        return Empty()
