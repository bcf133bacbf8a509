"""The statements of a batch of changes to memberships: each does its work for many items in one call.

What a change may do, and what it comes to, is decided in `gateway.rooms.membership_changes`.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from gateway.store.prepared import Sql, Statement, among_items, items
from gateway.store.tables import AMONG_MEMBERS, invitations, memberships, rooms, users

_NEW_ROOM = ("name", "title", "private", "kept", "signals", "epoch", "created_at")
_NEW_MEMBER = ("room_id", "user_id", "role", "joined_at", "read", "user_name", "room_name")


def _make(database: str) -> Sql:
    # Another node may make a room of the same name at this moment. SQLite lets one write at a time.
    values = items(database, *(rooms.c[name].type for name in _NEW_ROOM))
    created_at = values[-1]
    missing = select(*values, literal_column("0"), created_at).where(~exists().where(rooms.c.name == values[0]))
    columns = [*_NEW_ROOM, "offset", "oldest_at"]
    if database == "sqlite":
        return insert(rooms).from_select(columns, missing).returning(rooms)
    from sqlalchemy.dialects import postgresql  # the other database needs none of it

    return postgresql.insert(rooms).from_select(columns, missing).on_conflict_do_nothing().returning(rooms)


def _lock_users(database: str) -> Sql:
    # In a fixed order, so that two nodes never wait for each other. Their messages can still be added.
    columns = users.c.id, users.c.name, users.c.stored_bytes, users.c.deleted_at
    query = select(*columns).where(among_items(database, users.c.id))
    return query.order_by(users.c.id).with_for_update(key_share=True)


def _invited(database: str) -> Sql:
    each = _keys(database)
    found = select(invitations.c.invited_at).where(_is(invitations, each)).correlate(each).scalar_subquery()
    return select(each.c.room_id, each.c.user_id, found.label("invited_at"))


def _count_rooms(database: str) -> Sql:
    [user_id] = items(database, Text())
    removed_at = select(rooms.c.removed_at).where(rooms.c.id == memberships.c.room_id).scalar_subquery()
    own = select(memberships.c.room_id).where(memberships.c.user_id == user_id, removed_at.is_(None))
    left = select(rooms.c.id).where(rooms.c.left_by == user_id)
    return select(
        user_id.label("user_id"),
        _count(own, "joined").label("joined"),
        (_count(own.where(memberships.c.role == "owner"), "owned") + _count(left, "owned")).label("owned"),
    )


def _count(query: Select[Any], limit: str) -> ColumnElement[int]:
    found = query.limit(bindparam(limit, type_=Integer())).correlate_except(memberships, rooms).subquery()
    return select(func.count()).select_from(found).scalar_subquery()


def _add(database: str) -> Sql:
    values = items(database, *(memberships.c[name].type for name in _NEW_MEMBER))
    return insert(memberships).from_select(_NEW_MEMBER, select(*values))


def _end(database: str) -> Sql:
    return delete(memberships).where(among_items(database, memberships.c.room_id, memberships.c.user_id))


def _uninvite(database: str) -> Sql:
    return delete(invitations).where(among_items(database, invitations.c.room_id, invitations.c.user_id))


def _keys(database: str) -> Subquery:
    room_id, user_id = items(database, Integer(), Text())
    return select(room_id.label("room_id"), user_id.label("user_id")).subquery()


def _is(table: Table, key: Subquery) -> ColumnElement[bool]:
    return and_(table.c.room_id == key.c.room_id, table.c.user_id == key.c.user_id)


def _uninvite_all(database: str) -> Sql:
    return delete(invitations).where(among_items(database, invitations.c.room_id))


def _count_members(database: str) -> Sql:
    room_id, arrivals, departures, left_by = items(database, Integer(), BigInteger(), BigInteger(), Text())
    values = {"arrivals": arrivals, "departures": departures, "left_by": left_by}
    return update(rooms).where(rooms.c.id == room_id).values(values)


def _mark_read(database: str) -> Sql:
    room_id, user_id, offset = items(database, Integer(), Text(), BigInteger())
    behind = and_(_membership(room_id, user_id), memberships.c.read < offset)
    change = update(memberships).where(behind).values(read=offset)
    return change.returning(memberships.c.room_id, memberships.c.user_id)


def _set_role(database: str) -> Sql:
    room_id, user_id, role = items(database, Integer(), Text(), Text())
    return update(memberships).where(_membership(room_id, user_id)).values(role=role)


def _remove(database: str) -> Sql:
    room_id, name, private, now = items(database, Integer(), Text(), Boolean(), BigInteger())
    values = {"name": name, "private": private, "left_by": None, "removed_at": now}
    return update(rooms).where(rooms.c.id == room_id).values(values)


def _unmake(database: str) -> Sql:
    return delete(rooms).where(among_items(database, rooms.c.id))


def _heir(_: str) -> Sql:
    here = memberships.c.room_id == bindparam("room", type_=Integer())
    query = select(users.c.id, users.c.name).join(memberships, memberships.c.user_id == users.c.id)
    disabled, role = bindparam("disabled", type_=Boolean()), bindparam("role", type_=Text())
    query = query.where(here, memberships.c.role == role, users.c.disabled == disabled, AMONG_MEMBERS)
    return query.order_by(memberships.c.joined_at, users.c.id).limit(1)


def _membership(room_id: ColumnElement[int], user_id: ColumnElement[str]) -> ColumnElement[bool]:
    return (memberships.c.room_id == room_id) & (memberships.c.user_id == user_id)


MAKE, UNMAKE = Statement(_make), Statement(_unmake)
"""Makes the rooms that do not exist, and returns them; and takes back the ones that no change wanted after all."""

LOCK_USERS, INVITED, COUNT_ROOMS = Statement(_lock_users), Statement(_invited), Statement(_count_rooms)
ADD, END, MARK_READ, SET_ROLE = Statement(_add), Statement(_end), Statement(_mark_read), Statement(_set_role)
UNINVITE, UNINVITE_ALL = Statement(_uninvite), Statement(_uninvite_all)
COUNT_MEMBERS, REMOVE = Statement(_count_members), Statement(_remove)

HEIR = Statement(_heir)
"""Finds the longest-standing member of a room with a role, among the disabled users or among the others."""
