"""Of a log, no more is read than fits into a page."""

import itertools
from collections.abc import Callable
from typing import Any

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
