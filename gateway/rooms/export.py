"""Exports as JSON lines: all that the store has about a user, or the log of a room. Each line has a `type` and `data`.

The store is read in parts, and each part is written before the next one is read. So an export takes little memory, and
delays no other reader for long. The last line has the type `end`: without it, an export is not complete.
"""

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any

import orjson

from gateway.rooms.encoding import message_json
from gateway.rooms.room_pages import read_members
from gateway.rooms.sent_messages import messages_of
from gateway.store import deleted_users, rooms, senders, user_records
from gateway.store.engine import Database
from gateway.store.rooms import RoomRow
from gateway.store.user_records import Record
from gateway.store.users import UserRow
from handlers.errors import NotFound

ROWS = 200
"""Rows in a part: messages may be long."""


async def user_lines(database: Database, user: UserRow) -> AsyncIterator[bytes]:
    """Yield all that the store has about a user. Raise `NotFound` if the user is deleted meanwhile."""
    yield _lines(await database.query(partial(user_records.of_account, user=user)))
    after = ""
    while records := await database.query(partial(user_records.memberships_of, user=user, after=after, limit=ROWS)):
        yield _lines(records)
        after = records[-1][1]["room"]
    yield _lines(await database.query(partial(user_records.of_rooms, user=user)))
    yield _lines(await database.query(partial(user_records.of_hooks, user=user)))
    count = 0
    async for keys in messages_of(database.query, {user.id}, ROWS):
        found = await database.query(partial(senders.read, keys=keys))
        count += len(found)
        yield b"".join(_line("message", orjson.Fragment(message_json(room, row, user.id))) for room, row in found)
    left = await database.query(partial(deleted_users.find, name=user.name))
    if left is None or (left.id, left.deleted_at) != (user.id, user.deleted_at):
        raise NotFound(f"{user.name} was deleted meanwhile, so the export is not complete")
    yield _line("end", {"messages": count})


async def room_lines(database: Database, room: RoomRow) -> AsyncIterator[bytes]:
    """Yield a room, its members, and its log in the order of the messages.

    Raise `NotFound` if the room is deleted meanwhile.
    """
    yield _line("room", room.to_service_schema().model_dump(mode="json", exclude_none=True))
    cursor: str | None = None
    while True:
        page = await read_members(database, room.id, cursor, ROWS)
        yield _lines(("member", {"user": each.name, "role": each.role}) for each in page.members)
        cursor = page.next_cursor
        if cursor is None:
            break
    count = after = 0
    while rows := await database.query(partial(senders.read_room, room_id=room.id, after=after, limit=ROWS)):
        yield b"".join(_line("message", orjson.Fragment(message_json(room, row))) for row in rows)
        count, after = count + len(rows), rows[-1].offset
    left = await database.query(partial(rooms.by_name, name=room.name))
    if left is None or left.id != room.id:
        raise NotFound(f"{room.name} was deleted meanwhile, so the export is not complete")
    yield _line("end", {"messages": count})


def _lines(records: Iterable[Record]) -> bytes:
    return b"".join(_line(kind, _without_nulls(data)) for kind, data in records)


def _without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


def _line(type: str, data: Any) -> bytes:
    return orjson.dumps({"type": type, "data": data}) + b"\n"
