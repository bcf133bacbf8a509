"""Counts the bytes that messages take up, for each user and each room.

Both sums are stored with the user and the room, and change in the transaction that changes the messages. So reading
them needs no addition.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    Update,
    cast,
    func,
    literal,
    select,
    update,
)

from gateway.store.prepared import Statement, items
from gateway.store.tables import messages, rooms, users

MESSAGE_BYTES = 200
"""The bytes of a message besides its content: its other columns, and its entries in three indexes."""


def size_of(text: str | None, body: Any) -> int:
    """Return the bytes that a message with this content takes up."""
    said = b"" if text is None else text.encode()
    return MESSAGE_BYTES + len(said) + (0 if body is None else len(orjson.dumps(body)))


def subtract_removed(connection: Connection, room_id: int, condition: ColumnElement[bool]) -> None:
    """Subtract messages that are about to be removed from the sums of their room and their senders."""
    size = func.sum(_size(connection.dialect.name))
    query = select(messages.c.sender_id, size).where(messages.c.room_id == room_id, condition)
    sums = [(sender_id, int(size)) for sender_id, size in connection.execute(query.group_by(messages.c.sender_id))]
    less = {"stored_bytes": rooms.c.stored_bytes - sum(size for _, size in sums)}
    connection.execute(update(rooms).where(rooms.c.id == room_id).values(less))
    if sums:
        given_back = sorted_items((sender_id, -size) for sender_id, size in sums)
        connection.execute(_add(connection.dialect.name), {"items": given_back})


def sorted_items(more: Iterable[tuple[str, int]]) -> str:
    """Return users and the changes of their sums, in the form that `ADD` takes."""
    # In a fixed order, so that two nodes never wait for each other.
    return orjson.dumps(sorted(more)).decode()


@cache  # it has hundreds of objects in cycles, which would be garbage each time
def _add(database: str) -> Update:
    user_id, more = items(database, Text(), BigInteger())
    change = update(users).where(users.c.id == user_id).values(stored_bytes=users.c.stored_bytes + more)
    # With SQLite, no other transaction has changed them since they were read, and to return them takes longer.
    return change if database == "sqlite" else change.returning(users.c.id, users.c.stored_bytes)


ADD = Statement(_add)
"""Changes the sums of users. Returns the new sums, if another transaction may have changed them too."""


@cache
def _size(database: str) -> ColumnElement[int]:
    """Return the same as `size_of`, for a row."""
    said = (func.coalesce(_octets(column, database), 0) for column in (messages.c.text, messages.c.body))
    size: ColumnElement[int] = sum(said, start=literal(MESSAGE_BYTES))
    return size


def _octets(column: ColumnElement[Any], database: str) -> ColumnElement[int]:
    # SQLite has `octet_length` only since 3.43.
    return func.length(cast(column, LargeBinary)) if database == "sqlite" else func.octet_length(column)
