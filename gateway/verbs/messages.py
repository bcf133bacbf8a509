"""What a session can do with messages."""

from typing import Any

from gateway.bus.base import BusEvent
from gateway.store import messages, rooms
from gateway.store.writes import Delete, Edit, Send, Written
from gateway.transport import frames
from gateway.verbs.actor import Actor
from gateway.verbs.pages import fitting
from handlers.errors import PositionLost
from schemas.events.chat import ChatRead
from schemas.messages.chat import HistoryReply, Message, SendReply


class SessionMessages:
    """The verbs of `handlers.base.MessageVerbs`, for one session."""

    def __init__(self, session: Actor) -> None:
        self._session = session
        self._services = session.services

    async def send(
        self, room: str, *, text: str | None, body: Any, reply_to: str | None, client_id: str | None
    ) -> SendReply:
        """Store a message and give it to the room; for a `client_id` used before, give that message."""
        user_id, user = self._session.user_id, self._session.user
        written = await self._services.log.write(Send(room, user_id, user, text, body, reply_to, client_id))
        self._services.typing.stop(room, user)
        return SendReply(message=self._shown(written), duplicate=written.unchanged)

    async def edit(self, room: str, message_id: str, *, text: str | None, body: Any) -> Message:
        """Change what a message says; for its author."""
        return self._shown(await self._services.log.write(Edit(room, self._session.user_id, message_id, text, body)))

    async def delete(self, room: str, message_id: str) -> Message:
        """Take a message back; for its author, moderators and owners."""
        return self._shown(await self._services.log.write(Delete(room, self._session.user_id, message_id)))

    async def history(self, room: str, *, before: int | None, after: int | None, limit: int) -> HistoryReply:
        """Read a page of a room's log, oldest first."""
        async with self._services.database.read() as connection:
            found = await rooms.of_member(connection, room, self._session.user_id)
            # One more than was asked for, to know whether there are more.
            rows = await messages.page(connection, found, before=before, after=after, limit=limit + 1)
        page = fitting(row.shown(found, self._session.user_id) for row in rows[:limit])
        has_more = len(rows) > len(page)
        return HistoryReply(messages=tuple(page if after is not None else reversed(page)), has_more=has_more)

    async def mark_read(self, room: str, offset: int) -> None:
        """Note and tell up to which offset the user has read; going back is ignored."""
        async with self._services.database.write() as connection:
            found = await rooms.of_member(connection, room, self._session.user_id)
            if offset > found.offset:
                raise PositionLost(
                    f"the log of `{room}` ends at {found.offset}; what comes after cannot have been read"
                )
            is_news = await rooms.mark_read(connection, found.id, self._session.user_id, offset)
        if is_news:
            event = frames.event(ChatRead(room=room, user=self._session.user, offset=offset))
            await self._services.bus.publish(BusEvent(event, room=room))

    def _shown(self, written: Written) -> Message:
        return written.shown(self._session.user_id)
