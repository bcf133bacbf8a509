"""What somebody has missed of a room's log: all of it, or the reason why not."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import messages, rooms
from gateway.store.engine import Database
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomPosition, RoomRow
from schemas.messages.rooms import Reason

MAX_MISSED = 300
"""Messages that are read at once; whoever has missed more is better off with the newest ones."""


async def changes_since(
    connection: AsyncConnection,
    room: RoomRow,
    epoch: str,
    offset: int,
    *,
    limit: int | None = None,
    max_bytes: int | None = None,
) -> list[MessageRow] | Reason:
    """Read what changed in a room's log after a position, in order; or return the reason why that is not possible.

    After messages that say `max_bytes` together, no more are read: the caller must not take that for all of them.
    """
    if epoch != room.epoch:
        return "epoch_changed"
    if offset < room.pruned:
        return "too_old"
    most = MAX_MISSED if limit is None else limit
    rows = await messages.changed_since(connection, room.id, offset, most + 1, max_bytes)
    return rows if len(rows) <= most else "too_many"


@dataclass(frozen=True)
class Gap:
    """A hole in what a node has heard of a room: the room as it is now, and what was missed, if that can be told."""

    room: RoomRow
    rows: list[MessageRow] | None


@dataclass(frozen=True)
class Departed:
    """Who of some users is a member of a room no more, as of a number of departures."""

    room: RoomRow
    user_ids: set[str]


class HistoryReader:
    """Reads from the store what a node has not heard of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_gap(self, name: str, epoch: str, offset: int) -> Gap | None:
        """Read what came after a position; None if the room is no more. Raises `Unavailable`."""
        async with self._database.read() as connection:
            room = await rooms.by_name(connection, name)
            if room is None:
                return None
            found = await changes_since(connection, room, epoch, offset)
        return Gap(room, None if isinstance(found, str) else found)

    async def positions(self, names: Sequence[str]) -> dict[str, RoomPosition]:
        """Read how far some hundred rooms are, those that there are. Raises `Unavailable`."""
        items = orjson.dumps([[name] for name in names]).decode()
        rows = await self._database.fetch(rooms.POSITIONS, items=items)
        return {row["name"]: RoomPosition(**row) for row in rows}

    async def departed(self, name: str, user_ids: Collection[str]) -> Departed | None:
        """Tell which users are no members; None if the room is no more. Raises `Unavailable`."""
        async with self._database.read() as connection:
            room = await rooms.by_name(connection, name)
            if room is None:
                return None
            return Departed(room, set(user_ids) - await rooms.members_among(connection, room.id, list(user_ids)))
