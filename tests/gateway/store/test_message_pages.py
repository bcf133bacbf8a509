"""A page of messages has those that fit, in order, whichever way it is read."""

import random
from functools import partial
from typing import Any

import pytest

from gateway.store import message_pages, messages, rooms
from gateway.store.engine import Database
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.store.sqlite_driver import AT_ONCE_BYTES
from tests.gateway.store.test_pages import say
from tests.support.users import add_users

PLACES: list[tuple[int | None, int | None]] = [
    *((None, None), (0, None), (1, None), (23, None)),
    *((None, 0), (None, 17), (None, 40)),
]
"""Offsets before and after which messages are read."""

CONTENTS: list[dict[str, Any]] = [
    {"text": "hi"},
    {"text": "ä" * 3000},
    {"text": "😀" * 4000},
    {"body": {"x": ["y" * 20_000, None, 1.5]}},
    {"body": "z" * 60_000},
    {"text": "ho", "edited_at": 5, "client_id": "c"},
    {"deleted_at": 1},
]


async def talk(database: Database, contents: list[dict[str, Any]]) -> RoomRow:
    [ann] = await database.transact(partial(add_users, names=["alice"]))
    room = await database.transact(partial(rooms.add, name="here", now=0))
    return await database.transact(partial(say, room=room, sender=ann, contents=contents))


async def read(
    database: Database,
    room: RoomRow,
    limit: int,
    max_bytes: int,
    before: int | None = None,
    after: int | None = None,
) -> list[MessageRow]:
    statement, place = message_pages.part(before, after)
    rows = await database.fetch_bounded(statement, max_bytes, room=room.id, most=limit, **place)
    return [MessageRow(**row) for row in rows]


@pytest.mark.parametrize("max_bytes", [1, 5000, AT_ONCE_BYTES, 200_000, 10_000_000])
async def test_it_has_the_first_messages_that_together_reach_its_bytes(database: Database, max_bytes: int) -> None:
    choice = random.Random(max_bytes)
    room = await talk(database, [choice.choice(CONTENTS) for _ in range(40)])
    for before, after in PLACES:
        for limit in (1, 7, 101):
            page = partial(messages.page, room=room, before=before, after=after, limit=limit, max_bytes=max_bytes)
            found = await read(database, room, limit, max_bytes, before, after)
            assert found == await database.query(page), (before, after, limit)


async def test_a_message_longer_than_a_page_is_read_all_the_same(database: Database) -> None:
    room = await talk(database, [{"body": "x" * 600_000}] * 3)
    assert [row.offset for row in await read(database, room, 3, 500_000)] == [3]


async def test_a_room_without_messages_has_an_empty_page(database: Database) -> None:
    assert await read(database, await talk(database, []), 10, 1000) == []
