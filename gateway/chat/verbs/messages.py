"""The verbs of a session for messages."""

from collections.abc import Awaitable, Sequence
from typing import Any

from gateway.auth.room_rights import Right
from gateway.bus.base import ToRoom
from gateway.chat.verbs.context import SessionContext
from gateway.chat.verbs.membership import fetch_as_member
from gateway.chat.verbs.pages import ENVELOPE_BYTES, READ_BYTES, fitting_texts
from gateway.chat.verbs.rights import check_right
from gateway.core import costs, strict_json
from gateway.rooms.encoding import message_json
from gateway.rooms.growth import NewPiece
from gateway.rooms.membership_changes import MarkRead
from gateway.rooms.message_changes import Delete, Edit, Send, Written
from gateway.store import message_pages
from gateway.store.messages import MessageRow
from gateway.transport import frames
from gateway.transport.encoded import encoded
from handlers.errors import RateLimited
from schemas.events.chat import ChatRead
from schemas.messages.chat import AppendReply, HistoryReply, Message, SendReply
from schemas.messages.system import MAX_TEXT

ROW_BYTES = 200
"""The bytes of a message in the store besides its content."""

_SENT, _DUPLICATE = b'{"message":%b,"duplicate":false}', b'{"message":%b,"duplicate":true}'


class SessionMessages:
    """The verbs of `handlers.base.MessageVerbs`, for one session."""

    def __init__(self, session: SessionContext) -> None:
        self._session = session
        self._gateway = session.gateway

    async def send(
        self, room: str, *, text: str | None, body: Any, reply_to: str | None, client_id: str | None
    ) -> SendReply:
        """Store a message and send it to the room. For a `client_id` used before, return the first message."""
        user_id, user = self._session.user_id, self._session.user
        await check_right(self._session, Right.SEND, room)
        body, size = self._checked(text, body)
        self._pay(room, size)
        written = await self._gateway.log.append(Send(room, user_id, user, text, body, reply_to, client_id))
        self._gateway.typing.stop(room, user)
        reply = _DUPLICATE if written.unchanged else _SENT
        return encoded(SendReply, reply % written.json_for(user_id))

    async def edit(self, room: str, message_id: str, *, text: str | None, body: Any) -> Message:
        """Change the content of a message; for its author."""
        await check_right(self._session, Right.SEND, room)
        body, size = self._checked(text, body)
        self._pay(room, size)
        edit = Edit(room, self._session.user_id, message_id, text, body)
        return self._seen(await self._gateway.appender.change(edit))

    async def append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> AppendReply:
        """Add text to the end of a message; for its author."""
        return await (await self.begin_append(room, message_id, text, at=at, done=done))

    async def begin_append(
        self, room: str, message_id: str, text: str, *, at: int | None = None, done: bool = False
    ) -> Awaitable[AppendReply]:
        """Take a piece for the end of a message, and return its outcome as a future."""
        user_id = self._session.user_id
        await check_right(self._session, Right.SEND, room)
        if len(text) > MAX_TEXT or not (text or done):
            raise ValueError(f"expected a text of 1 to {MAX_TEXT} characters, or an empty one with `done`")
        if self._gateway.appender.is_gathering(room, user_id, message_id):
            self._pay_piece(room, len(text.encode()))
        else:
            self._pay(room, len(text.encode()))
            self._gateway.typing.stop(room, self._session.user)
        return self._gateway.appender.append(room, user_id, message_id, NewPiece(text, at, done))

    async def delete(self, room: str, message_id: str) -> Message:
        """Delete a message; for its author, moderators and owners."""
        await check_right(self._session, Right.SEND, room)
        self._pay(room)
        return self._seen(await self._gateway.appender.change(Delete(room, self._session.user_id, message_id)))

    async def history(self, room: str, *, before: int | None, after: int | None, limit: int) -> HistoryReply:
        """Return a page of a room's log, oldest first."""
        self._session.charge(costs.PAGE)
        found = await fetch_as_member(self._session, room)
        statement, place = message_pages.part(before, after)
        # Read one more than requested, to know whether there are more.
        wanted = {"room": found.id, "most": limit + 1} | place
        rows = await self._gateway.database.fetch_bounded(statement, READ_BYTES, **wanted)
        texts = [message_json(found, MessageRow(**row), self._session.user_id) for row in rows[:limit]]
        page = fitting_texts(texts)
        return _history_reply(page if after is not None else page[::-1], has_more=len(rows) > len(page))

    async def mark_read(self, room: str, offset: int) -> None:
        """Store and announce the offset that the user has read up to. Ignore a lower offset than before."""
        await check_right(self._session, Right.JOIN, room)
        marked = await self._gateway.log.append(MarkRead(room, self._session.user_id, offset))
        if marked.is_further:
            event = frames.event(ChatRead(room=room, user=self._session.user, offset=offset))
            heard = await self._gateway.bus.publish(ToRoom(event, room))
            self._session.charge(costs.of_deliveries(heard, len(event.wire)))

    def _pay(self, room: str, size: int = 0) -> None:
        """Charge the write of a message and its deliveries to a room, or raise `RateLimited`.

        The charge comes before the write, so that simultaneous messages of a user's connections count at once.
        """
        self._write(ROW_BYTES + size)
        self._session.charge(costs.of_bytes(size) + costs.of_deliveries(self._gateway.hub.subscriber_count(room), size))

    def _pay_piece(self, room: str, size: int) -> None:
        """Charge a piece that makes the row and the event of its group longer, or raise `RateLimited`."""
        self._write(size)
        heard = self._gateway.hub.subscriber_count(room)
        self._session.charge(costs.of_bytes(size) + costs.of_longer_event(heard, size))

    def _write(self, size: int) -> None:
        refused = self._session.writes.take(self._gateway.clock.steady(), size)
        if refused is not None:
            wait, whose = refused
            raise RateLimited(f"bytes written {whose}", int(wait * 1000) + 1)

    def _checked(self, text: str | None, body: Any) -> tuple[Any, int]:
        """Return a body in its stored form, and the bytes of the content.

        Raises `ValueError` for a value that would break its readers. A client's content has been checked. An
        application's own handler may pass anything.
        """
        if (text is None) == (body is None) or len(text or "") > MAX_TEXT:
            raise ValueError(f"expected either a text of at most {MAX_TEXT} characters or a body")
        if body is None:
            return None, len((text or "").encode())
        encoded, settings = frames.json(body), self._gateway.settings
        if len(encoded) > (most := settings.max_frame_bytes - ENVELOPE_BYTES):
            raise ValueError(f"expected a body of at most {most} bytes, got {len(encoded)}")
        return strict_json.loads(encoded.decode(), max_depth=settings.max_json_depth), len(encoded)

    def _seen(self, written: Written) -> Message:
        return written.message.to_schema(written.room, self._session.user_id)


def _history_reply(texts: Sequence[bytes], *, has_more: bool) -> HistoryReply:
    more = b"true" if has_more else b"false"
    return encoded(HistoryReply, b'{"messages":[%b],"has_more":%b}' % (b",".join(texts), more))
