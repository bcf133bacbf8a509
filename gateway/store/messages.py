"""Messages: reading the log of a room."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.rooms import RoomRow
from gateway.store.storage import size_of
from gateway.store.tables import messages, users
from schemas.base import timestamp
from schemas.messages.chat import Message


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

    def shown(self, room: RoomRow, viewer_id: str | None = None) -> Message:
        """Give what a user may see of it; None stands for anyone but the sender."""
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
        """How many bytes it takes up."""
        return size_of(self.text, self.body)

    def edited(self, changed: int, text: str | None, body: Any, now: int) -> "MessageRow":
        """Give the message as it is after an edit."""
        return replace(self, changed=changed, text=text, body=body, edited_at=now)

    def deleted(self, changed: int, now: int) -> "MessageRow":
        """Give what is left of the message after it was taken back."""
        return replace(self, changed=changed, text=None, body=None, deleted_at=now)


def message_id(epoch: str, offset: int) -> str:
    """Name a message by where it is: no other has the same epoch and offset, and it is found without an index."""
    return f"{epoch}.{offset}"


def offset_of(id: str, epoch: str) -> int | None:
    """Tell where the message of an id is; None if that is not in a log of this epoch."""
    prefix, _, offset = id.rpartition(".")
    if prefix != epoch or not offset.isdecimal() or not offset.isascii() or len(offset) > 15 or offset[0] == "0":
        return None
    return int(offset)


async def page(
    connection: AsyncConnection, room: RoomRow, *, before: int | None = None, after: int | None = None, limit: int
) -> list[MessageRow]:
    """Read messages `after` an offset oldest first, or else `before` one (or the end) newest first."""
    query = _rows().where(messages.c.room_id == room.id).limit(limit)
    if after is not None:
        return await _read(connection, query.where(messages.c.offset > after).order_by(messages.c.offset))
    if before is not None:
        query = query.where(messages.c.offset < before)
    return await _read(connection, query.order_by(messages.c.offset.desc()))


async def changed_since(connection: AsyncConnection, room_id: int, offset: int, limit: int) -> list[MessageRow]:
    """Read the messages whose last event came after an offset, in the order of those events."""
    query = _rows().where(messages.c.room_id == room_id, messages.c.changed > offset)
    return await _read(connection, query.order_by(messages.c.changed).limit(limit))


def _rows() -> Select[Any]:
    return select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)


async def _read(connection: AsyncConnection, query: Select[Any]) -> list[MessageRow]:
    rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
    return [MessageRow(**row._mapping) for row in rows]
