"""What a session can do with messages."""

from typing import TYPE_CHECKING, Any

from gateway.store import messages, rooms
from gateway.verbs.pages import fitting
from schemas.messages.chat import HistoryReply, Message

if TYPE_CHECKING:
    from gateway.session import ChatSession


class SessionMessages:
    """The verbs of `handlers.base.MessageVerbs`, for one session."""

    def __init__(self, session: "ChatSession") -> None:
        self._session = session
        self._services = session.services

    async def send(self, room: str, *, text: str | None, body: Any) -> Message:
        """Store a message and give it to the room; returns once it is durable."""
        session = self._session
        message = await self._services.log.append(
            room, user_id=session.user_id, sender=session.user, text=text, body=body
        )
        self._services.typing.stop(room, session.user)
        return message

    async def history(self, room: str, *, before: int | None, after: int | None, limit: int) -> HistoryReply:
        """Read a page of a room's log, oldest first."""
        async with self._services.database.read() as connection:
            found = await rooms.of_member(connection, room, self._session.user_id)
            # One more than was asked for, to know whether there are more.
            rows = await messages.page(connection, found, before=before, after=after, limit=limit + 1)
        page = fitting(rows[:limit])
        has_more = len(rows) > len(page)
        return HistoryReply(messages=tuple(page if after is not None else reversed(page)), has_more=has_more)
