"""Removes the oldest part of rooms' logs, and the rows of deleted rooms, a few rows in each transaction.

A log is pruned along `changed`, the order of its events. The room remembers how far, so that a client that resumes from
before that point learns of it. An edit makes a message young again.
"""

from itertools import takewhile
from typing import Any

from sqlalchemy import Column, Connection, delete, func, select, update

from gateway.store import storage
from gateway.store.tables import invitations, memberships, messages, rooms


def rooms_after(connection: Connection, room_id: int, limit: int) -> list[int]:
    """List the ids of rooms that have something to prune, after a given id."""
    due = (rooms.c.id > room_id) & (rooms.c.offset > rooms.c.pruned) & rooms.c.removed_at.is_(None)
    query = select(rooms.c.id).where(due)
    return list((connection.execute(query.order_by(rooms.c.id).limit(limit))).scalars())


def too_many(connection: Connection, room_id: int, keep: int | None) -> int:
    """Return the highest `changed` of the messages beyond `keep`, or 0 without any. It never decreases later."""
    if keep is None:
        return 0
    query = select(messages.c.changed).where(messages.c.room_id == room_id).order_by(messages.c.changed.desc())
    return (connection.execute(query.offset(keep).limit(1))).scalar_one_or_none() or 0


def prune(connection: Connection, room_id: int, *, before: int | None, too_many: int, limit: int) -> int | None:
    """Remove up to `limit` surplus or old messages of a room. Return their number, or None if none are left.

    `before` is a time in milliseconds since 1970, or None. `too_many` is a value of `changed`.
    """
    # The lock keeps writers out, which would set new values of `changed` meanwhile.
    locked = select(rooms.c.pruned).where(rooms.c.id == room_id).with_for_update()
    pruned = (connection.execute(locked)).scalar_one_or_none()
    if pruned is None:
        return None
    changed_at = func.coalesce(messages.c.deleted_at, messages.c.edited_at, messages.c.sent_at).label("changed_at")
    # Not from the beginning: PostgreSQL would pass all removed rows again each time.
    oldest = select(messages.c.changed, changed_at).where(messages.c.room_id == room_id, messages.c.changed > pruned)
    rows = (connection.execute(oldest.order_by(messages.c.changed).limit(limit))).all()
    due = list(takewhile(lambda row: row.changed <= too_many or row.changed_at < (before or 0), rows))
    if not due:
        return None
    bound = due[-1].changed
    old = (messages.c.room_id == room_id) & (messages.c.changed > pruned) & (messages.c.changed <= bound)
    storage.subtract_removed(connection, room_id, old)
    connection.execute(delete(messages).where(old))
    connection.execute(update(rooms).where(rooms.c.id == room_id).values(pruned=bound))
    return len(due)


KEYS: tuple[Column[Any], ...] = (invitations.c.user_id, memberships.c.user_id, messages.c.offset)
"""The key of a room's rows, in each table where a deleted room leaves some."""


def removed_rooms(connection: Connection) -> list[int]:
    """List the rooms that were deleted and still have rows."""
    query = select(rooms.c.id).where(rooms.c.removed_at.is_not(None)).order_by(rooms.c.removed_at)
    return list((connection.execute(query)).scalars())


def remove_rows(room_id: int, key: Column[Any], after: Any, connection: Connection, limit: int) -> Any:
    """Remove up to `limit` rows of a deleted room after a key. Return the last key, or None at the end."""
    # The lock keeps out another node that removes the same rows.
    locked = select(rooms.c.id).where(rooms.c.id == room_id, rooms.c.removed_at.is_not(None)).with_for_update()
    if connection.execute(locked).one_or_none() is None:
        return None
    due = key.table.c.room_id == room_id
    if after is not None:
        due &= key > after
    last = select(key).where(due).order_by(key).offset(limit - 1).limit(1)
    bound = (connection.execute(last)).scalar_one_or_none()
    if bound is not None:
        due &= key <= bound
    if key.table is messages:
        storage.subtract_removed(connection, room_id, due)
    connection.execute(delete(key.table).where(due))
    return bound


def forget_room(room_id: int, connection: Connection) -> None:
    """Remove a deleted room that has no other rows left."""
    connection.execute(delete(rooms).where(rooms.c.id == room_id, rooms.c.removed_at.is_not(None)))
