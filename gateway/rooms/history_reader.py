"""Reads what a client or a node has missed of a room's log: all of it, or the reason why that is impossible."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from gateway.store import messages, rooms
from gateway.store.engine import Database
from gateway.store.messages import MessageRow
from gateway.store.prepared import items_of
from gateway.store.rooms import RoomPosition, RoomRow
from schemas.messages.rooms import Reason

MAX_MISSED = 300
"""Messages to read at once. A client that has missed more is better off with the newest ones."""


def changes_since(
    connection: Connection,
    room: RoomRow,
    epoch: str,
    offset: int,
    *,
    limit: int | None = None,
    max_bytes: int | None = None,
) -> list[MessageRow] | Reason:
    """Return what changed in a room's log after a position, in order, or the reason why that is impossible.

    Stop after messages that together reach `max_bytes`. The caller must not take the result for all of them then.
    """
    if epoch != room.epoch:
        return "epoch_changed"
    if offset < room.pruned:
        return "too_old"
    most = MAX_MISSED if limit is None else limit
    rows = messages.changed_since(connection, room.id, offset, most + 1, max_bytes)
    return rows if len(rows) <= most else "too_many"


@dataclass(frozen=True)
class Gap:
    """What a node has missed of a room: the room as it is now, and the messages, or None if they cannot be read."""

    room: RoomRow
    rows: list[MessageRow] | None


@dataclass(frozen=True)
class Departed:
    """Those of some users that are no longer members of a room, as of a number of departures."""

    room: RoomRow
    user_ids: set[str]


class HistoryReader:
    """Reads from the store what a node has missed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_gap(self, name: str, epoch: str, offset: int) -> Gap | None:
        """Read what came after a position, or None if the room no longer exists. Raise `Unavailable`."""
        return await self._database.query(partial(_read_gap, name, epoch, offset))

    async def positions(self, names: Sequence[str]) -> dict[str, RoomPosition]:
        """Read the positions of a few hundred rooms, without those that do not exist. Raise `Unavailable`."""
        rows = await self._database.fetch(rooms.POSITIONS, items=items_of(names))
        return {row["name"]: RoomPosition(**row) for row in rows}

    async def departed(self, name: str, user_ids: Collection[str]) -> Departed | None:
        """Return the users that are not members, or None if the room no longer exists. Raise `Unavailable`."""
        return await self._database.query(partial(_departed, name, user_ids))


def _read_gap(name: str, epoch: str, offset: int, connection: Connection) -> Gap | None:
    room = rooms.by_name(connection, name)
    if room is None:
        return None
    found = changes_since(connection, room, epoch, offset)
    return Gap(room, None if isinstance(found, str) else found)


def _departed(name: str, user_ids: Collection[str], connection: Connection) -> Departed | None:
    room = rooms.by_name(connection, name)
    if room is None:
        return None
    return Departed(room, set(user_ids) - rooms.members_among(connection, room.id, list(user_ids)))
