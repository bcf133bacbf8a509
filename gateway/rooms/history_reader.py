"""Reads what a client or a node has missed of a room's log: all of it, or the reason why that is impossible."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from gateway.store import message_pages, messages, rooms
from gateway.store.engine import Database
from gateway.store.grouped_reads import GroupedReads
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


SMALL_BYTES = 256 * 1024
"""The size of rooms that are read together. SQLite reads one in a millisecond at most, in the event loop."""

ROOMS_AT_ONCE = 4
"""Rooms whose newest messages are read with one statement."""


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
    remaining: set[str]
    """The same users, as far as they are still members."""


@dataclass(frozen=True)
class Changes:
    """The messages of a room that changed last, in the order of their changes."""

    rows: list[MessageRow]
    floor: int
    """All messages that changed after this offset are in `rows`."""
    is_whole: bool
    """Whether there are no others."""


class HistoryReader:
    """Reads from the store what a node has missed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: dict[int, GroupedReads[int, list[MessageRow]]] = {}

    async def newest_changes(self, room: RoomRow, limit: int, max_bytes: int) -> Changes:
        """Read the messages of a room that changed last. Raise `Unavailable`.

        Stop after messages that together reach `max_bytes`.
        """
        max_bytes = max(1, max_bytes)
        rows = await self._read_newest(room, limit + 1, max_bytes)
        is_whole = len(rows) <= limit and sum(row.size for row in rows) < max_bytes
        if is_whole:
            # Not from `room.pruned`: retention may have removed more since `room` was read.
            return Changes(rows, rows[0].changed - 1 if rows else room.offset, is_whole=True)
        # The first one shows that there are more. What changed with it is complete without it.
        return Changes(rows[1:], rows[0].changed, is_whole=False)

    async def _read_newest(self, room: RoomRow, limit: int, max_bytes: int) -> list[MessageRow]:
        if room.stored_bytes <= SMALL_BYTES:
            return await self._newest_of(limit).get(room.id) or []
        # Not by an average: the newest messages of a room may be much longer than its others.
        rows = await self._database.fetch_bounded(message_pages.NEWEST_CHANGES, max_bytes, room=room.id, most=limit)
        return [MessageRow(**row) for row in reversed(rows)]

    def _newest_of(self, limit: int) -> GroupedReads[int, list[MessageRow]]:
        if limit not in self._newest:
            self._newest[limit] = GroupedReads(partial(self._read_newest_of, limit), ROOMS_AT_ONCE)
        return self._newest[limit]

    async def _read_newest_of(self, limit: int, room_ids: list[int]) -> dict[int, list[MessageRow]]:
        found: defaultdict[int, list[MessageRow]] = defaultdict(list)
        for row in await self._database.fetch(messages.NEWEST_CHANGES, items=items_of(room_ids), most=limit):
            found[row["room_id"]].append(MessageRow(**row))
        return found

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
    remaining = rooms.members_among(connection, room.id, list(user_ids))
    return Departed(room, set(user_ids) - remaining, remaining)
