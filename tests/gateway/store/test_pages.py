"""A page costs what is on it, whatever else is in the store."""

import itertools
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update

from gateway.store import messages, rooms
from gateway.store.engine import Database
from gateway.store.rooms import RoomRow
from gateway.store.tables import messages as messages_table
from gateway.store.tables import rooms as rooms_table
from gateway.store.users import UserRow
from tests.support.users import add_users

Work = Callable[[Connection, list[UserRow]], None]


async def with_people(database: Database, work: Work, *names: str) -> None:
    """Run `work` in a transaction with users of these names."""
    await database.transact(lambda connection: work(connection, add_users(connection, names)))


def say(connection: Connection, room: RoomRow, sender: UserRow, contents: list[dict[str, Any]]) -> RoomRow:
    """Store messages of a room, and return the room after that."""
    rows = [
        {"room_id": room.id, "sender_id": sender.id, "sent_at": 0, "offset": offset, "changed": offset, **content}
        for offset, content in enumerate(contents, 1)
    ]
    for _, alike in itertools.groupby(rows, dict.keys):
        connection.execute(insert(messages_table), list(alike))
    connection.execute(update(rooms_table).where(rooms_table.c.id == room.id).values(offset=len(rows)))
    found = rooms.by_name(connection, room.name)
    assert found is not None
    return found


def steps(connection: Connection, read: Callable[[], object]) -> int:
    """Count SQLite's steps for a query."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(count, 1)
    read()
    driver.set_progress_handler(None, 1)
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
    def work(connection: Connection, crowd: list[UserRow]) -> None:
        taken = []
        for name, members in (("ten", crowd[:10]), ("all", crowd)):
            room = rooms.add(connection, name=name, now=0)
            for user in members:
                rooms.add_member(connection, room, user.id, "member", 0)
            taken.append(steps(connection, partial(rooms.members, connection, room.id, cursor="u0004", limit=1)))
        assert taken[0] == taken[1]

    await with_people(sqlite, work, *(f"u{number:04}" for number in range(1000)))


async def test_members_come_by_name_a_page_at_a_time(database: Database) -> None:
    def work(connection: Connection, added: list[UserRow]) -> None:
        room = rooms.add(connection, name="here", now=0)
        for user in added:
            rooms.add_member(connection, room, user.id, "member", 0)
        page, cursor = rooms.members(connection, room.id, cursor=None, limit=3)
        assert [member.name for member in page] == ["alice", "bob", "carl"]
        page, last = rooms.members(connection, room.id, cursor=cursor, limit=3)
        assert ([member.name for member in page], last) == (["dora"], None)

    await with_people(database, work, "dora", "alice", "carl", "bob")


@pytest.mark.server
async def test_private_rooms_of_others_take_no_time_of_a_list(sqlite: Database) -> None:
    def work(connection: Connection, people: list[UserRow]) -> None:
        [ann, ben] = people
        rooms.add(connection, name="open", now=0)
        before = steps(connection, partial(rooms.page, connection, ann.id, cursor=None, limit=50))
        for number in range(500):
            room = rooms.add(connection, name=f"p{number}", private=True, now=0)
            rooms.add_member(connection, room, ben.id, "owner", 0)
        assert steps(connection, partial(rooms.page, connection, ann.id, cursor=None, limit=50)) <= before + 10

    await with_people(sqlite, work, "alice", "bob")


async def test_a_list_has_public_rooms_and_ones_own_by_name_and_each_once(database: Database) -> None:
    def work(connection: Connection, people: list[UserRow]) -> None:
        [ann, ben] = people
        for name, private, member in (
            ("a-open", False, None),
            ("b-mine", True, ann),
            ("c-his", True, ben),
            ("d-both", False, ann),
            ("e-open", False, ben),
        ):
            room = rooms.add(connection, name=name, private=private, now=0)
            if member is not None:
                rooms.add_member(connection, room, member.id, "owner", 0)
        page, cursor = rooms.page(connection, ann.id, cursor=None, limit=3)
        assert [(room.name, room.role) for room in page] == [("a-open", None), ("b-mine", "owner"), ("d-both", "owner")]
        page, last = rooms.page(connection, ann.id, cursor=cursor, limit=3)
        assert ([room.name for room in page], last) == (["e-open"], None)

    await with_people(database, work, "alice", "bob")


async def test_unread_messages_are_counted_in_the_newest_thousand(database: Database) -> None:
    def work(connection: Connection, people: list[UserRow]) -> None:
        [ann, ben] = people
        room = rooms.add(connection, name="here", now=0)
        rooms.add_member(connection, room, ann.id, "member", 0)
        say(connection, room, ben, [{"text": "hi"}] * 1005 + [{"deleted_at": 1}] * 5)
        [[listed], _] = rooms.page(connection, ann.id, cursor=None, limit=10)
        assert (listed.unread, listed.looked_at) == (995, 1000)

    await with_people(database, work, "alice", "bob")


async def test_of_a_log_no_more_is_read_than_fits(database: Database) -> None:
    long = "x" * 60_000

    def work(connection: Connection, people: list[UserRow]) -> None:
        [ann] = people
        room = rooms.add(connection, name="here", now=0)
        room = say(connection, room, ann, [{"body": long}] * 40 + [{"text": "ä" * 4000}] * 10)
        assert len(messages.page(connection, room, limit=101, max_bytes=500_000)) == 10 + 7
        assert len(messages.page(connection, room, after=0, limit=101, max_bytes=500_000)) == 9
        assert len(messages.page(connection, room, limit=3, max_bytes=500_000)) == 3
        assert len(messages.page(connection, room, limit=101)) == 50
        assert len(messages.changed_since(connection, room.id, 0, 301, 500_000)) == 9
        assert len(messages.changed_since(connection, room.id, 45, 301, 500_000)) == 5
        assert messages.changed_since(connection, room.id, 50, 301, 500_000) == []

    await with_people(database, work, "alice")


async def test_a_message_longer_than_a_page_is_read_all_the_same(database: Database) -> None:
    def work(connection: Connection, people: list[UserRow]) -> None:
        [ann] = people
        room = rooms.add(connection, name="here", now=0)
        room = say(connection, room, ann, [{"body": "x" * 600_000}] * 3)
        assert [row.offset for row in messages.page(connection, room, limit=3, max_bytes=500_000)] == [3]

    await with_people(database, work, "alice")
