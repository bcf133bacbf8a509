"""Reads the messages of a room's log."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, Row, cast, func, select

from gateway.store.rooms import RoomRow
from gateway.store.storage import size_of
from gateway.store.tables import messages, users
from schemas.base import timestamp
from schemas.messages.chat import Message

SIZES = 32
"""How many sizes of messages to read at a time, because SQLite before 3.43 reads the messages for that."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message as stored."""

    room_id: int
    offset: int
    changed: int
    sender_id: str
    sender: str
    text: str | None
    body: Any
    reply_to: int | None
    client_id: str | None
    sent_at: int
    edited_at: int | None = None
    deleted_at: int | None = None

    def to_schema(self, room: RoomRow, viewer_id: str | None = None) -> Message:
        """Return what a user may see of it. None stands for any user except the sender."""
        return Message(
            id=message_id(room.epoch, self.offset),
            room=room.name,
            epoch=room.epoch,
            offset=self.offset,
            changed=self.changed,
            sender=self.sender,
            text=self.text,
            body=self.body,
            reply_to=None if self.reply_to is None else message_id(room.epoch, self.reply_to),
            client_id=self.client_id if self.sender_id == viewer_id else None,
            sent_at=timestamp(self.sent_at),
            edited_at=None if self.edited_at is None else timestamp(self.edited_at),
            deleted=self.deleted_at is not None,
        )

    @property
    def size(self) -> int:
        """Return the bytes that it takes up."""
        return size_of(self.text, self.body)

    def edited(self, changed: int, text: str | None, body: Any, now: int) -> "MessageRow":
        """Return the message after an edit."""
        return replace(self, changed=changed, text=text, body=body, edited_at=now)

    def deleted(self, changed: int, now: int) -> "MessageRow":
        """Return the message after its deletion."""
        return replace(self, changed=changed, text=None, body=None, deleted_at=now)


def message_id(epoch: str, offset: int) -> str:
    """Return the id of a message. It contains the epoch and the offset, so it is unique and needs no index."""
    return f"{epoch}.{offset}"


def offset_of(id: str, epoch: str) -> int | None:
    """Return the offset in a message's id, or None if it belongs to another epoch."""
    prefix, _, offset = id.rpartition(".")
    if prefix != epoch or not offset.isdecimal() or not offset.isascii() or len(offset) > 15 or offset[0] == "0":
        return None
    return int(offset)


def page(
    connection: Connection,
    room: RoomRow,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int,
    max_bytes: int | None = None,
) -> list[MessageRow]:
    """Read messages `after` an offset, oldest first, or `before` one (or from the end), newest first.

    Stop after the first messages that together reach `max_bytes`.
    """
    where = [messages.c.room_id == room.id]
    order: ColumnElement[Any] = messages.c.offset.desc()
    if after is not None:
        where.append(messages.c.offset > after)
        order = messages.c.offset.asc()
    elif before is not None:
        where.append(messages.c.offset < before)
    return _read(connection, where, order, limit, max_bytes)


def changed_since(
    connection: Connection, room_id: int, offset: int, limit: int, max_bytes: int | None = None
) -> list[MessageRow]:
    """Read the messages with events after an offset, in the order of their last events. `max_bytes` is as in `page`."""
    where = [messages.c.room_id == room_id, messages.c.changed > offset]
    return _read(connection, where, messages.c.changed.asc(), limit, max_bytes)


def _read(
    connection: Connection,
    where: Sequence[ColumnElement[bool]],
    order: ColumnElement[Any],
    limit: int,
    max_bytes: int | None,
) -> list[MessageRow]:
    query = select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)
    query = query.where(*where).order_by(order)
    if max_bytes is not None:
        limit = _fitting(connection, where, order, limit, max_bytes)
    rows: Sequence[Row[Any]] = connection.execute(query.limit(limit)).all()
    return [MessageRow(**row._mapping) for row in rows]


def _fitting(
    connection: Connection,
    where: Sequence[ColumnElement[bool]],
    order: ColumnElement[Any],
    limit: int,
    max_bytes: int,
) -> int:
    """Count the first messages that together reach `max_bytes`, including the one that exceeds it."""
    size = func.coalesce(_bytes(connection, messages.c.text), 0) + func.coalesce(_bytes(connection, messages.c.body), 0)
    count = said = 0
    found = connection.execute(select(size).where(*where).order_by(order).limit(limit))
    for sizes in found.scalars().partitions(SIZES):
        fitting = [before for before in accumulate(sizes, initial=said) if before < max_bytes]
        count += min(len(fitting), len(sizes))
        said += sum(sizes)
        if said >= max_bytes:
            break
    found.close()
    return count


def _bytes(connection: Connection, column: ColumnElement[Any]) -> ColumnElement[int]:
    if connection.dialect.name == "sqlite":  # it has `octet_length` since 3.43
        return func.length(cast(column, LargeBinary))
    return func.octet_length(column)
