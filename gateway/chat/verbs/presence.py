"""The verbs of a session for presence."""

from gateway.chat.verbs.context import SessionContext
from gateway.chat.verbs.membership import check_sender
from gateway.core import costs
from gateway.store import users
from gateway.store.prepared import items_of
from schemas.messages.presence import UserPresence


class SessionPresence:
    """The verbs of `handlers.base.PresenceVerbs`, for one session."""

    def __init__(self, session: SessionContext) -> None:
        self._session = session
        self._gateway = session.gateway

    async def get(self, names: list[str]) -> tuple[UserPresence, ...]:
        """Return the presence of each user, in the given order."""
        self._session.charge(costs.of_rows(len(names)))
        rows = await self._session.fetch(users.LAST_SEEN, items=items_of(names))
        last_seen = {row["name"]: row["last_seen_at"] for row in rows}
        told = {user.user: user for user in await self._gateway.presence.get({n: last_seen.get(n) for n in names})}
        return tuple(told[name] for name in names)

    async def typing(self, room: str) -> None:
        """Show the room that the user is typing. The display ends by itself after 6 seconds."""
        await check_sender(self._session, room)
        await self._gateway.typing.start(room, self._session.user, self._session.user_id)
