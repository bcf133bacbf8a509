"""Messages: the log of each room."""

from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.rooms import RoomRow
from gateway.store.tables import messages, users
from schemas.base import timestamp
from schemas.messages.chat import Message


def message_id(epoch: str, offset: int) -> str:
    """Name a message by where it is: no other has the same epoch and offset, and it is found without an index."""
    return f"{epoch}.{offset}"


async def add(connection: AsyncConnection, room_id: int, message: Message, *, sender_id: str, now: int) -> None:
    """Store a message, at the offset that `rooms.next_offset` gave it."""
    await connection.execute(
        insert(messages).values(
            room_id=room_id,
            offset=message.offset,
            changed=message.changed,
            sender_id=sender_id,
            text=message.text,
            body=message.body,
            sent_at=now,
        )
    )


async def page(
    connection: AsyncConnection,
    room: RoomRow,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int,
) -> list[Message]:
    """Read messages `after` an offset oldest first, or else `before` one (or the end) newest first."""
    query = select(messages, users.c.name.label("sender")).join(users, users.c.id == messages.c.sender_id)
    query = query.where(messages.c.room_id == room.id).limit(limit)
    if after is not None:
        query = query.where(messages.c.offset > after).order_by(messages.c.offset)
    else:
        query = query.order_by(messages.c.offset.desc())
        if before is not None:
            query = query.where(messages.c.offset < before)
    return [_message(room, row) for row in await connection.execute(query)]


def _message(room: RoomRow, row: Row[Any]) -> Message:
    return Message(
        id=message_id(room.epoch, row.offset),
        room=room.name,
        epoch=room.epoch,
        offset=row.offset,
        changed=row.changed,
        sender=row.sender,
        text=row.text,
        body=row.body,
        sent_at=timestamp(row.sent_at),
    )
