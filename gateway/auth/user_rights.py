"""Reads what users may do, anew for every credential: an end counts at once, on every node.

A storm of clients that come back asks for many users at the same moment. They share statements, as on PostgreSQL each
statement needs one of a few connections. Nothing is remembered.
"""

from gateway.store import login_sessions, users
from gateway.store.engine import Database
from gateway.store.grouped_reads import GroupedReads
from gateway.store.prepared import items_of
from gateway.store.users import UserRights


class UserRightsReader:
    """Finds the users of credentials in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_session = GroupedReads(self._read_by_session)
        self._by_id = GroupedReads(self._read_by_id)

    async def of_session(self, session_id: str, user_id: str) -> UserRights | None:
        """Return the user of a session, or None if the session has ended or is another user's."""
        found = await self._by_session.get(session_id)
        return found if found is not None and found.id == user_id else None

    async def of_id(self, user_id: str) -> UserRights | None:
        """Return a user, or None."""
        return await self._by_id.get(user_id)

    async def _read_by_session(self, ids: list[str]) -> dict[str, UserRights]:
        rows = await self._database.fetch(login_sessions.RIGHTS_BY_SESSION, items=items_of(ids))
        return {row.pop("session_id"): UserRights(**row) for row in rows}

    async def _read_by_id(self, ids: list[str]) -> dict[str, UserRights]:
        rows = await self._database.fetch(users.RIGHTS_BY_ID, items=items_of(ids))
        return {row["id"]: UserRights(**row) for row in rows}
