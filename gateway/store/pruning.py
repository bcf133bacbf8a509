"""Removes the oldest part of rooms' logs, and the rows of deleted rooms, a few rows in each transaction.

A log is pruned along `changed`, the order of its events. The room remembers how far, so that a client that resumes from
before that point learns of it. An edit makes a message young again.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import Column, Connection, Integer, Select, bindparam, delete, func, select, update

from gateway.store import storage
from gateway.store.tables import invitations, memberships, messages, rooms


@dataclass(frozen=True)
class Pruned:
    """What one step has removed of a room, and whether nothing of it is due any more."""

    removed: int
    is_done: bool


def too_old(connection: Connection, before: int, limit: int) -> list[int]:
    """List the ids of rooms that may have messages from before a time. `prune` takes them off this list."""
    there = rooms.c.removed_at.is_(None) & (rooms.c.oldest_at < before)
    # A new room has no bound yet, but it can have nothing that is older.
    query = select(rooms.c.id).where(there, rooms.c.created_at < before)
    return list(connection.execute(query.order_by(rooms.c.oldest_at).limit(limit)).scalars())


def too_full(connection: Connection, after: int, until: int, keep: int) -> list[int]:
    """List the ids of rooms that may have more than `keep` messages, after an id and until another."""
    query = select(rooms.c.id).where(rooms.c.id > after, rooms.c.id <= until, rooms.c.removed_at.is_(None))
    return list(connection.execute(query.where(rooms.c.offset - rooms.c.vacant > keep).order_by(rooms.c.id)).scalars())


def last_room(connection: Connection) -> int:
    """Return the highest id of a room, or 0."""
    return connection.execute(select(func.max(rooms.c.id))).scalar_one() or 0


def _newest() -> Select[int, Any]:
    of_room = select(messages.c.changed).where(messages.c.room_id == bindparam("room_id"))
    some = of_room.order_by(messages.c.changed.desc()).limit(bindparam("most", type_=Integer())).subquery()
    return select(func.count(), func.min(some.c.changed))


_NEWEST = _newest()
"""Made once: retention asks it of each room, and its parts refer to each other, so only the collector frees them."""


def surplus(connection: Connection, room_id: int, keep: int) -> tuple[int, int]:
    """Return the highest `changed` of a room's messages beyond `keep`, or 0 without any, and a bound of `vacant`.

    Neither ever decreases, so both hold after this transaction.
    """
    count, lowest = connection.execute(_NEWEST, {"room_id": room_id, "most": keep + 1}).one()
    offset = connection.execute(select(rooms.c.offset).where(rooms.c.id == room_id)).scalar_one_or_none() or 0
    return lowest if count > keep else 0, offset - min(count, keep)


def note_vacant(connection: Connection, room_id: int, vacant: int) -> None:
    """Store a bound of a room's vacant offsets, once the messages beyond it are removed."""
    higher = (rooms.c.id == room_id) & (rooms.c.vacant < vacant)
    connection.execute(update(rooms).where(higher).values(vacant=vacant))


def prune(connection: Connection, room_id: int, *, before: int | None, too_many: int, now: int, limit: int) -> Pruned:
    """Remove up to `limit` surplus or old messages of a room.

    `before` and `now` are times in milliseconds since 1970, and `before` may be None. `too_many` is a value of
    `changed`.
    """
    # The lock keeps writers out, which would set new values of `changed` meanwhile.
    locked = select(rooms.c.pruned).where(rooms.c.id == room_id).with_for_update()
    pruned = (connection.execute(locked)).scalar_one_or_none()
    if pruned is None:
        return Pruned(0, is_done=True)
    times = (messages.c.deleted_at, messages.c.grown_at, messages.c.edited_at, messages.c.sent_at)
    changed_at = func.coalesce(*times).label("changed_at")
    # Not from the beginning: PostgreSQL would pass all removed rows again each time.
    oldest = select(messages.c.changed, changed_at).where(messages.c.room_id == room_id, messages.c.changed > pruned)
    # One more, which will be the oldest.
    rows = (connection.execute(oldest.order_by(messages.c.changed).limit(limit + 1))).all()
    due = list(takewhile(lambda row: row.changed <= too_many or row.changed_at < (before or 0), rows[:limit]))
    if due:
        bound = due[-1].changed
        old = (messages.c.room_id == room_id) & (messages.c.changed > pruned) & (messages.c.changed <= bound)
        storage.subtract_removed(connection, room_id, old)
        connection.execute(delete(messages).where(old))
        pruned = bound
    oldest_at = rows[len(due)].changed_at if len(rows) > len(due) else now
    now_is = {"pruned": pruned, "oldest_at": oldest_at, "vacant": rooms.c.vacant + len(due)}
    connection.execute(update(rooms).where(rooms.c.id == room_id).values(now_is))
    return Pruned(len(due), is_done=len(due) < limit)


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
