"""Reads pages of rooms and of members from the store."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.room_patterns import RoomPatterns
from gateway.store import room_pages
from gateway.store.engine import Database
from gateway.store.prepared import Rows, Statement, items_of
from gateway.store.room_pages import MemberRow, Unread
from gateway.store.rooms import RoomRow

ROWS_AT_ONCE = 200
"""Rows that take less time to read than a thread takes to be asked: a page of members, or unread messages."""


@dataclass(frozen=True)
class RoomPage:
    """A page of rooms, with the cursor of the next page, or None on the last one."""

    rooms: list[RoomRow]
    next_cursor: str | None
    searched: int
    """How many messages were searched for unread ones."""


@dataclass(frozen=True)
class MemberPage:
    """A page of members, with the cursor of the next page, or None on the last one."""

    members: list[MemberRow]
    next_cursor: str | None


async def read_rooms(database: Database, user_id: str, cursor: str | None, limit: int) -> RoomPage:
    """Read public rooms, the user's own and its invitations by name, after `cursor`. Raise `Unavailable`."""
    return await _read(room_pages.ROOMS, database, user_id, cursor, limit)


async def read_own_rooms(database: Database, user_id: str, limit: int) -> RoomPage:
    """Read the user's own rooms and its invitations by name. Raise `Unavailable`."""
    return await _read(room_pages.OWN, database, user_id, None, limit)


async def read_all_rooms(database: Database, which: RoomPatterns | None, cursor: str | None, limit: int) -> RoomPage:
    """Read the rooms of all users that fit some patterns, or all, by name, after `cursor`. Raise `Unavailable`.

    The store chooses them, so that no cursor names a room of another kind.
    """
    place = {"cursor": cursor or "", "most": limit + 1}
    if which is not None:  # it may have to look at many names
        rows = await database.fetch_long(room_pages.FITTING_ROOMS, items=items_of(which.texts), **place)
    else:
        fetch = database.fetch if limit <= ROWS_AT_ONCE else database.fetch_long
        rows = await fetch(room_pages.ALL_ROOMS, **place)
    found = [RoomRow(**row) for row in rows[:limit]]
    return RoomPage(found, found[-1].name if len(rows) > limit else None, 0)


async def _read(statement: Statement, database: Database, user_id: str, cursor: str | None, limit: int) -> RoomPage:
    rows = await database.fetch(statement, me=user_id, cursor=cursor or "", most=limit + 1)
    uncounted = room_pages.uncounted_in(rows[:limit])
    counts = await _count(database, user_id, [each for each in uncounted if each.count])
    found = room_pages.rooms_of(rows[:limit], counts)
    searched = sum(each.count for each in uncounted)
    return RoomPage(found, found[-1].name if len(rows) > limit else None, searched)


async def read_members(database: Database, room_id: int, cursor: str | None, limit: int) -> MemberPage:
    """Read members of a room by name, after `cursor`. Raise `Unavailable`."""
    fetch = database.fetch if limit <= ROWS_AT_ONCE else database.fetch_long
    rows = await fetch(room_pages.MEMBERS, room=room_id, cursor=cursor or "", most=limit + 1)
    found = room_pages.members_of(rows[:limit])
    return MemberPage(found, found[-1].name if len(rows) > limit else None)


async def _count(database: Database, user_id: str, uncounted: Sequence[Unread]) -> Rows:
    if not uncounted:
        return []
    fetch = database.fetch if sum(each.count for each in uncounted) <= ROWS_AT_ONCE else database.fetch_long
    return await fetch(room_pages.UNREAD, me=user_id, items=room_pages.items_of_unread(uncounted))
