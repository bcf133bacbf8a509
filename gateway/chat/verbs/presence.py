"""The verbs of a session for presence."""

from abc import ABC, abstractmethod
from typing import Any

from gateway.auth.room_rights import Right
from gateway.chat.verbs.context import ConnectionContext, SessionContext
from gateway.chat.verbs.membership import as_member, check_sender
from gateway.chat.verbs.rights import check_right
from gateway.core import costs
from gateway.store import users
from gateway.store.prepared import items_of
from gateway.transport import frames
from handlers.errors import Conflict
from schemas.messages.presence import SetPresence, UserPresence


class UserPresenceVerbs(ABC):
    """The verbs of `handlers.base.PresenceVerbs`, for one user. A subclass says which connection has a state."""

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

    @abstractmethod
    async def set(self, room: str, state: dict[str, Any] | None) -> None:
        """Show a state of the user's own in a room that this connection hears."""


class SessionPresence(UserPresenceVerbs):
    """The verbs for presence of a connection, which has a state in the rooms that it hears."""

    _session: ConnectionContext

    def __init__(self, session: ConnectionContext) -> None:
        super().__init__(session)

    async def set(self, room: str, state: dict[str, Any] | None) -> None:
        """Show a state of the user's own in a room that this connection hears. None takes it back."""
        text = None if state is None else frames.json(SetPresence(room=room, state=state).state).decode()
        self._session.charge(costs.READ)
        await check_right(self._session, Right.SEND, room)
        if room not in self._session.joined:
            as_member(room, await self._gateway.room_finder.find(room, self._session.user_id))
            raise Conflict(f"this connection does not hear the room `{room}`; send `room.join` first")
        if text is not None:
            self._gateway.hub.check_not_crowded(room, "custom states")
            heard = self._gateway.hub.subscriber_count(room)
            self._session.charge(costs.of_deliveries(heard, len(text)))
        self._gateway.presence.custom.set(room, self._session, text)
