"""Removing the oldest part of rooms' logs.

A log is pruned along `changed`, the order of its events, and the room remembers how far: whoever resumes from before is
told so. An edit thus makes a message young again.
"""

from itertools import takewhile

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import storage
from gateway.store.tables import messages, rooms


async def rooms_after(connection: AsyncConnection, room_id: int, limit: int) -> list[int]:
    """List rooms that have something to prune, by id, after one."""
    query = select(rooms.c.id).where(rooms.c.id > room_id, rooms.c.offset > rooms.c.pruned)
    return list((await connection.execute(query.order_by(rooms.c.id).limit(limit))).scalars())


async def prune(connection: AsyncConnection, room_id: int, *, before: int | None, keep: int | None, limit: int) -> int:
    """Remove up to `limit` of a room's messages that are too many or too old; returns how many that were.

    `before` is a time in milliseconds since 1970, `keep` a number of messages; None for no such bound.
    """
    # The lock keeps writers away, who would give `changed` new values meanwhile.
    await connection.execute(select(rooms.c.id).where(rooms.c.id == room_id).with_for_update())
    too_many = await _too_many(connection, room_id, keep)
    changed_at = func.coalesce(messages.c.deleted_at, messages.c.edited_at, messages.c.sent_at).label("changed_at")
    oldest = select(messages.c.changed, changed_at).where(messages.c.room_id == room_id)
    rows = (await connection.execute(oldest.order_by(messages.c.changed).limit(limit))).all()
    due = list(takewhile(lambda row: row.changed <= too_many or row.changed_at < (before or 0), rows))
    if due:
        bound = due[-1].changed
        old = (messages.c.room_id == room_id) & (messages.c.changed <= bound)
        await storage.give_back(connection, room_id, messages.c.changed <= bound)
        await connection.execute(delete(messages).where(old))
        await connection.execute(update(rooms).where(rooms.c.id == room_id).values(pruned=bound))
    return len(due)


async def _too_many(connection: AsyncConnection, room_id: int, keep: int | None) -> int:
    if keep is None:
        return 0
    query = select(messages.c.changed).where(messages.c.room_id == room_id).order_by(messages.c.changed.desc())
    return (await connection.execute(query.offset(keep).limit(1))).scalar_one_or_none() or 0
