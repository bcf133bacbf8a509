"""Finds messages by their senders, and reads them as they are stored, for exports and deletions.

That is a pass over all messages: no index has the senders, since each message would pay for it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, Text, and_, literal, select, tuple_, type_coerce

from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.store.tables import messages, rooms, users

START = (0, 0)
"""The key before all messages."""


class MessageKey(NamedTuple):
    """The place of a message."""

    room: RoomRow
    offset: int


class Scanned(NamedTuple):
    """A part of all messages: those of some senders, and where the part ends."""

    found: list[MessageKey]
    last: tuple[int, int] | None
    """None at the end of all messages."""


def scan(connection: Connection, sender_ids: frozenset[str], after: tuple[int, int], limit: int) -> Scanned:
    """Look through the next messages of all rooms for those of some senders, without deleted rooms."""
    key = tuple_(messages.c.room_id, messages.c.offset)
    query = select(messages.c.room_id, messages.c.offset, messages.c.sender_id)
    query = query.where(key > tuple_(*map(literal, after))).order_by(messages.c.room_id, messages.c.offset)
    rows = connection.execute(query.limit(limit)).all()
    mine = [row for row in rows if row.sender_id in sender_ids]
    by_id = _rooms_by_id(connection, {row.room_id for row in mine})
    found = [MessageKey(by_id[row.room_id], row.offset) for row in mine if row.room_id in by_id]
    return Scanned(found, (rows[-1].room_id, rows[-1].offset) if rows else None)


def _rooms_by_id(connection: Connection, ids: set[int]) -> dict[int, RoomRow]:
    found = connection.execute(select(rooms).where(rooms.c.id.in_(ids), rooms.c.removed_at.is_(None)))
    return {row.id: RoomRow(**row._mapping) for row in found}


def read(connection: Connection, keys: Sequence[MessageKey]) -> list[tuple[RoomRow, MessageRow]]:
    """Read messages by their places, with the text of a body as it is stored. Some may be gone meanwhile."""
    by_id = {key.room.id: key.room for key in keys}
    places = tuple_(messages.c.room_id, messages.c.offset).in_([(key.room.id, key.offset) for key in keys])
    return [(by_id[row.room_id], row) for row in _rows(connection, places)]


def read_room(connection: Connection, room_id: int, after: int, limit: int) -> list[MessageRow]:
    """Read the next messages of a room's log, like `read`."""
    query = messages.c.room_id == room_id, messages.c.offset > after
    return _rows(connection, and_(*query), limit)


def _rows(connection: Connection, condition: ColumnElement[bool], limit: int | None = None) -> list[MessageRow]:
    # A body that is read and written again may change its numbers.
    body = type_coerce(messages.c.body, Text()).label("body")
    columns = [body if column is messages.c.body else column for column in messages.c]
    query = select(*columns, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)
    query = query.where(condition).order_by(messages.c.room_id, messages.c.offset).limit(limit)
    found = [MessageRow(**row._mapping) for row in connection.execute(query)]
    return [replace(row, body=None if row.body is None else orjson.Fragment(row.body)) for row in found]
