"""A page costs what is on it, whatever else is in the store."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import messages, rooms
from gateway.store.engine import Database
from gateway.store.rooms import RoomRow
from gateway.store.tables import messages as messages_table
from gateway.store.tables import rooms as rooms_table
from gateway.store.users import UserRow
from tests.support.users import add_users


@asynccontextmanager
async def people(database: Database, *names: str) -> AsyncIterator[tuple[AsyncConnection, list[UserRow]]]:
    """Open a transaction with users of these names."""
    async with database.write() as connection:
        yield connection, await add_users(connection, names)


async def say(connection: AsyncConnection, room: RoomRow, sender: UserRow, contents: list[dict[str, Any]]) -> RoomRow:
    """Store messages of a room, and return the room after that."""
    rows = [
        {"room_id": room.id, "sender_id": sender.id, "sent_at": 0, "offset": offset, "changed": offset, **content}
        for offset, content in enumerate(contents, 1)
    ]
    for _, alike in itertools.groupby(rows, dict.keys):
        await connection.execute(insert(messages_table), list(alike))
    await connection.execute(update(rooms_table).where(rooms_table.c.id == room.id).values(offset=len(rows)))
    found = await rooms.by_name(connection, room.name)
    assert found is not None
    return found


async def steps(connection: AsyncConnection, read: Any) -> int:
    """Count SQLite's steps for a query."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.set_progress_handler(count, 1)
    await read
    await driver.set_progress_handler(None, 1)
    return counted


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty SQLite store with steps that can be counted, unlike PostgreSQL's."""
    database = Database(f"sqlite:///{tmp_path}/gateway.db")
    await database.upgrade()
    yield database
    await database.close()


@pytest.mark.server
async def test_one_member_of_a_crowd_is_found_as_quickly_as_one_of_ten(sqlite: Database) -> None:
    async with people(sqlite, *(f"u{number:04}" for number in range(1000))) as (connection, crowd):
        taken = []
        for name, members in (("ten", crowd[:10]), ("all", crowd)):
            room = await rooms.add(connection, name=name, now=0)
            for user in members:
                await rooms.add_member(connection, room, user.id, "member", 0)
            taken.append(await steps(connection, rooms.members(connection, room.id, cursor="u0004", limit=1)))
        assert taken[0] == taken[1]


async def test_members_come_by_name_a_page_at_a_time(database: Database) -> None:
    async with people(database, "dora", "alice", "carl", "bob") as (connection, added):
        room = await rooms.add(connection, name="here", now=0)
        for user in added:
            await rooms.add_member(connection, room, user.id, "member", 0)
        page, cursor = await rooms.members(connection, room.id, cursor=None, limit=3)
        assert [member.name for member in page] == ["alice", "bob", "carl"]
        page, last = await rooms.members(connection, room.id, cursor=cursor, limit=3)
        assert ([member.name for member in page], last) == (["dora"], None)


@pytest.mark.server
async def test_private_rooms_of_others_take_no_time_of_a_list(sqlite: Database) -> None:
    async with people(sqlite, "alice", "bob") as (connection, [ann, ben]):
        await rooms.add(connection, name="open", now=0)
        before = await steps(connection, rooms.page(connection, ann.id, cursor=None, limit=50))
        for number in range(500):
            room = await rooms.add(connection, name=f"p{number}", private=True, now=0)
            await rooms.add_member(connection, room, ben.id, "owner", 0)
        assert await steps(connection, rooms.page(connection, ann.id, cursor=None, limit=50)) <= before + 10


async def test_a_list_has_public_rooms_and_ones_own_by_name_and_each_once(database: Database) -> None:
    async with people(database, "alice", "bob") as (connection, [ann, ben]):
        for name, private, member in (
            ("a-open", False, None),
            ("b-mine", True, ann),
            ("c-his", True, ben),
            ("d-both", False, ann),
            ("e-open", False, ben),
        ):
            room = await rooms.add(connection, name=name, private=private, now=0)
            if member is not None:
                await rooms.add_member(connection, room, member.id, "owner", 0)
        page, cursor = await rooms.page(connection, ann.id, cursor=None, limit=3)
        assert [(room.name, room.role) for room in page] == [("a-open", None), ("b-mine", "owner"), ("d-both", "owner")]
        page, last = await rooms.page(connection, ann.id, cursor=cursor, limit=3)
        assert ([room.name for room in page], last) == (["e-open"], None)


async def test_unread_messages_are_counted_in_the_newest_thousand(database: Database) -> None:
    async with people(database, "alice", "bob") as (connection, [ann, ben]):
        room = await rooms.add(connection, name="here", now=0)
        await rooms.add_member(connection, room, ann.id, "member", 0)
        await say(connection, room, ben, [{"text": "hi"}] * 1005 + [{"deleted_at": 1}] * 5)
        [[listed], _] = await rooms.page(connection, ann.id, cursor=None, limit=10)
        assert (listed.unread, listed.looked_at) == (995, 1000)


async def test_of_a_log_no_more_is_read_than_fits(database: Database) -> None:
    long = "x" * 60_000
    async with people(database, "alice") as (connection, [ann]):
        room = await rooms.add(connection, name="here", now=0)
        room = await say(connection, room, ann, [{"body": long}] * 40 + [{"text": "ä" * 4000}] * 10)
        assert len(await messages.page(connection, room, limit=101, max_bytes=500_000)) == 10 + 7
        assert len(await messages.page(connection, room, after=0, limit=101, max_bytes=500_000)) == 9
        assert len(await messages.page(connection, room, limit=3, max_bytes=500_000)) == 3
        assert len(await messages.page(connection, room, limit=101)) == 50
        assert len(await messages.changed_since(connection, room.id, 0, 301, 500_000)) == 9
        assert len(await messages.changed_since(connection, room.id, 45, 301, 500_000)) == 5
        assert await messages.changed_since(connection, room.id, 50, 301, 500_000) == []


async def test_a_message_longer_than_a_page_is_read_all_the_same(database: Database) -> None:
    async with people(database, "alice") as (connection, [ann]):
        room = await rooms.add(connection, name="here", now=0)
        room = await say(connection, room, ann, [{"body": "x" * 600_000}] * 3)
        assert [row.offset for row in await messages.page(connection, room, limit=3, max_bytes=500_000)] == [3]
