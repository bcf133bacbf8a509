"""Reads the messages of a room's log."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    CursorResult,
    Integer,
    LargeBinary,
    Select,
    bindparam,
    cast,
    func,
    select,
    true,
)

from gateway.store.prepared import Sql, Statement, items
from gateway.store.rooms import RoomRow
from gateway.store.storage import size_of
from gateway.store.tables import messages, users
from schemas.base import timestamp
from schemas.messages.chat import Message

SIZES = 32
"""How many sizes of messages to read at a time, because SQLite before 3.43 reads the messages for that."""


@dataclass(slots=True)  # frozen, it would take three times as long to make, and a page has many
class MessageRow:
    """A message as stored. It is shared, so nothing changes it."""

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
    grown_at: int | None = None
    """When a piece was added last, unless it was edited since."""
    done: bool = False
    """Whether it grows no more."""

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
            done=True if self.done else None,
            deleted=self.deleted_at is not None,
        )

    @property
    def changed_at(self) -> int:
        """Return when it was sent or edited, has grown or was deleted last."""
        return self.deleted_at or self.grown_at or self.edited_at or self.sent_at

    @property
    def size(self) -> int:
        """Return the bytes that it takes up."""
        return size_of(self.text, self.body)

    def edited(self, changed: int, text: str | None, body: Any, now: int) -> "MessageRow":
        """Return the message after an edit."""
        return replace(self, changed=changed, text=text, body=body, edited_at=now, grown_at=None)

    def grown(self, changed: int, text: str, now: int, *, done: bool) -> "MessageRow":
        """Return the message with this longer text."""
        return replace(self, changed=changed, text=text, grown_at=now, done=done)

    def deleted(self, changed: int, now: int) -> "MessageRow":
        """Return the message after its deletion."""
        return replace(self, changed=changed, text=None, body=None, deleted_at=now)

    def disowned(self, changed: int, sender_id: str, sender: str) -> "MessageRow":
        """Return the message with another sender, since its own is deleted."""
        return replace(self, changed=changed, sender_id=sender_id, sender=sender, client_id=None)


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
    if after is not None:
        return _read(connection, "after", room.id, after, limit, max_bytes)
    if before is not None:
        return _read(connection, "before", room.id, before, limit, max_bytes)
    return _read(connection, "newest", room.id, None, limit, max_bytes)


def changed_since(
    connection: Connection, room_id: int, offset: int, limit: int, max_bytes: int | None = None
) -> list[MessageRow]:
    """Read the messages with events after an offset, in the order of their last events. `max_bytes` is as in `page`."""
    return _read(connection, "changed", room_id, offset, limit, max_bytes)


def _newest_changes(database: str) -> Sql:
    [room_id] = items(database, Integer())
    other = messages.alias()
    one_too_many = select(other.c.changed).where(other.c.room_id == room_id).order_by(other.c.changed.desc())
    floor = one_too_many.offset(bindparam("most", type_=Integer())).limit(1).scalar_subquery()
    query = select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)
    query = query.where(messages.c.room_id == room_id, messages.c.changed > func.coalesce(floor, 0))
    return query.order_by(messages.c.room_id, messages.c.changed)


NEWEST_CHANGES = Statement(_newest_changes)
"""Reads the `most` messages that changed last of each of some rooms, for `Database.fetch`, in the order of changes."""


_ROOM: BindParameter[int] = bindparam("room")
_OFFSET: BindParameter[int] = bindparam("offset")
_MOST = bindparam("most", type_=Integer())

_PARTS: dict[str, tuple[ColumnElement[bool], ColumnElement[Any]]] = {
    "newest": (true(), messages.c.offset.desc()),
    "before": (messages.c.offset < _OFFSET, messages.c.offset.desc()),
    "after": (messages.c.offset > _OFFSET, messages.c.offset.asc()),
    "changed": (messages.c.changed > _OFFSET, messages.c.changed.asc()),
}
"""The parts of a log to read: the condition and the order of each."""


def _read(
    connection: Connection, part: str, room_id: int, offset: int | None, limit: int, max_bytes: int | None
) -> list[MessageRow]:
    values = {"room": room_id, "most": limit} | ({} if offset is None else {"offset": offset})
    sizes, rows = _queries(part, connection.dialect.name)
    if max_bytes is not None:
        values["most"] = _count_fitting(connection.execute(sizes, values), max_bytes)
    found = connection.execute(rows, values)
    names = tuple(found.keys())  # asking each row for them takes longer than reading it
    return [MessageRow(**dict(zip(names, row, strict=True))) for row in found]


@cache
def _queries(part: str, database: str) -> tuple[Select[Any], Select[Any]]:
    """Build the queries of a part's sizes and of its messages, which takes longer than running them."""
    condition, order = _PARTS[part]
    size = func.coalesce(_bytes(database, messages.c.text), 0) + func.coalesce(_bytes(database, messages.c.body), 0)
    rows = select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)
    sizes, rows = (
        query.where(messages.c.room_id == _ROOM, condition).order_by(order).limit(_MOST)
        for query in (select(size).select_from(messages), rows)
    )
    return sizes, rows


def _count_fitting(found: CursorResult[Any], max_bytes: int) -> int:
    """Count the first messages that together reach `max_bytes`, including the one that exceeds it."""
    count = said = 0
    for sizes in found.scalars().partitions(SIZES):
        fitting = [before for before in accumulate(sizes, initial=said) if before < max_bytes]
        count += min(len(fitting), len(sizes))
        said += sum(sizes)
        if said >= max_bytes:
            break
    found.close()
    return count


def _bytes(database: str, column: ColumnElement[Any]) -> ColumnElement[int]:
    if database == "sqlite":  # it has `octet_length` since 3.43
        return func.length(cast(column, LargeBinary))
    return func.octet_length(column)
