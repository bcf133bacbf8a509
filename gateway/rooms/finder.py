"""Finds rooms for the users that come, many with one statement."""

from collections.abc import Iterable

import orjson

from gateway.store import rooms
from gateway.store.engine import Database
from gateway.store.grouped_reads import GroupedReads
from gateway.store.rooms import RoomRow

Key = tuple[str, str]
"""A room's name, and the id of a user."""


class RoomFinder:
    """Finds rooms by name, as a user sees them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads: GroupedReads[Key, RoomRow] = GroupedReads(self._find_all)

    async def find(self, name: str, user_id: str) -> RoomRow | None:
        """Return a room with the user's role in it, or None. Raise `Unavailable`."""
        return await self._reads.get((name, user_id))

    async def _find_all(self, keys: Iterable[Key]) -> dict[Key, RoomRow]:
        rows = await self._database.fetch(rooms.FIND_EACH, items=orjson.dumps(list(keys)).decode())
        return {(row["name"], row.pop("me")): RoomRow(**row) for row in rows}
