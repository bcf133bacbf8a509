"""Pages of rooms and of members, by name.

A page reads its own rows along an index, however full the store is. The statements have subqueries where joins
would say the same: PostgreSQL may begin a join at either end, and the other end can be all rooms.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    select,
    text,
    union,
)

from gateway.store.prepared import Rows, Statement, items
from gateway.store.rooms import ME, RoomRow, is_there, seen_by_me
from gateway.store.tables import AMONG_MEMBERS, invitations, memberships, messages, rooms, users
from schemas.messages.rooms import Role

MAX_UNREAD = 1000
"""How many of a room's newest messages are searched for unread ones. A higher number is of no use to a person."""

_CURSOR, _MOST, _ROOM = (
    bindparam("cursor", type_=Text()),
    bindparam("most", type_=Integer()),
    bindparam("room", type_=Integer()),
)


@dataclass(slots=True)  # as in `RoomRow`
class MemberRow:
    """A member of a room."""

    name: str
    role: Role
    last_seen_at: int | None


@dataclass(frozen=True)
class Unread:
    """The messages of a member's room that are still to be counted."""

    room_id: int
    after: int
    until: int

    @property
    def count(self) -> int:
        """Return how many messages are to be searched at most."""
        return min(self.until - self.after, MAX_UNREAD)


def _first(*kinds: Select[Any]) -> Select[Any]:
    """Read only the first rooms of each kind along its index, and return the first of them all."""
    ids = union(*(select(kind.limit(_MOST).subquery()) for kind in kinds)).subquery()
    first = select(ids.c.id).order_by(ids.c.name).limit(_MOST).subquery()
    return seen_by_me(memberships.c.read).join(first, first.c.id == rooms.c.id).order_by(rooms.c.name)


def _public() -> Select[Any]:
    # Worded exactly like the index's condition, or PostgreSQL would not use the index.
    public = and_(text("NOT rooms.private"), rooms.c.name > _CURSOR)
    return select(rooms.c.id, rooms.c.name).where(public).order_by(rooms.c.name)


def _own() -> Select[Any]:
    # Memberships and invitations of deleted rooms stay for a while.
    name = memberships.c.room_name
    mine = and_(memberships.c.user_id == ME, name > _CURSOR, is_there(memberships.c.room_id))
    return select(memberships.c.room_id.label("id"), name.label("name")).where(mine).order_by(name)


def _offered() -> Select[Any]:
    there = and_(rooms.c.id == invitations.c.room_id, rooms.c.removed_at.is_(None))
    name = select(rooms.c.name).where(there).scalar_subquery()
    to_me = and_(invitations.c.user_id == ME, name > _CURSOR)
    return select(invitations.c.room_id.label("id"), name.label("name")).where(to_me).order_by("name")


ROOMS = Statement(lambda _: _first(_public(), _own(), _offered()))
"""Lists `most` rooms after the name `cursor`: public ones, those of the user `me` and its invitations."""

OWN = Statement(lambda _: _first(_own(), _offered()))
"""Does the same without public rooms that the user is not in."""


def _unread(database: str) -> Select[Any]:
    room_id, after, until = items(database, Integer(), BigInteger(), BigInteger())
    each = select(room_id.label("id"), after.label("after"), until.label("until")).subquery()
    theirs = and_(
        messages.c.room_id == each.c.id,
        messages.c.offset > _searched_after(each),
        messages.c.offset <= each.c.until,
        messages.c.sender_id != ME,
        not_(_is_deleted(database)),
    )
    count = select(func.count()).select_from(messages).where(theirs).correlate(each).scalar_subquery()
    return select(each.c.id, count.label("unread"))


def _searched_after(each: Subquery) -> ColumnElement[int]:
    """Return the offset after which there are no more than `MAX_UNREAD` messages of a room.

    A message that grows leaves offsets without a message behind it, so only the messages themselves can be counted.
    """
    other = messages.alias()
    between = and_(other.c.room_id == each.c.id, other.c.offset > each.c.after, other.c.offset <= each.c.until)
    one_too_many = select(other.c.offset).where(between).order_by(other.c.offset.desc()).offset(MAX_UNREAD).limit(1)
    surplus = one_too_many.correlate(each).scalar_subquery()
    return case((each.c.until - each.c.after <= MAX_UNREAD, each.c.after), else_=func.coalesce(surplus, each.c.after))


def _is_deleted(database: str) -> ColumnElement[bool]:
    if database != "sqlite":
        return messages.c.deleted_at.is_not(None)
    # The types of columns are in the head of a row. A column behind a long text is found only by reading the text.
    return and_(func.typeof(messages.c.text) == "null", func.typeof(messages.c.body) == "null")


UNREAD = Statement(_unread)
"""Counts the messages of users other than `me` after one offset up to another, in each room of `items_of_unread`."""


def _members(_: str) -> Select[Any]:
    name = memberships.c.user_name
    query = select(name.label("name"), memberships.c.role, users.c.last_seen_at)
    query = query.join(users, users.c.id == memberships.c.user_id)
    return query.where(memberships.c.room_id == _ROOM, name > _CURSOR, AMONG_MEMBERS).order_by(name).limit(_MOST)


ALL_ROOMS = Statement(
    lambda _: (
        select(rooms).where(rooms.c.name > _CURSOR, rooms.c.removed_at.is_(None)).order_by(rooms.c.name).limit(_MOST)
    )
)
"""Lists `most` rooms after the name `cursor`, of all users."""


def _fitting(database: str) -> Select[Any]:
    [pattern] = items(database, Text())
    if database == "sqlite":
        fits = rooms.c.name.op("GLOB")(pattern)
    else:
        fits = rooms.c.name.like(func.replace(func.replace(pattern, "_", "\\_"), "*", "%"), escape="\\")
    found = and_(rooms.c.name > _CURSOR, rooms.c.removed_at.is_(None), exists(select(1).where(fits)))
    return select(rooms).where(found).order_by(rooms.c.name).limit(_MOST)


FITTING_ROOMS = Statement(_fitting)
"""Lists `most` rooms after the name `cursor`, of all users, whose names fit one of the patterns `items`."""

MEMBERS = Statement(_members)
"""Lists `most` members of a room after the name `cursor`."""


def uncounted_in(rows: Rows) -> list[Unread]:
    """Return what is to be counted for the rooms that `ROOMS` or `OWN` has found."""
    return [Unread(row["id"], row["read"], row["offset"]) for row in rows if row["role"] is not None]


def items_of_unread(uncounted: Iterable[Unread]) -> str:
    """Return the parameter `items` of `UNREAD`."""
    return orjson.dumps([(each.room_id, each.after, each.until) for each in uncounted]).decode()


def rooms_of(rows: Rows, counts: Rows) -> list[RoomRow]:
    """Return the rooms that `ROOMS` or `OWN` has found, with the numbers that `UNREAD` has found.

    Without a number, a member has read all.
    """
    unread = {row["id"]: row["unread"] for row in counts}
    found = []
    for row in rows:
        of_member = {} if row.pop("read") is None else {"unread": unread.get(row["id"], 0)}
        found.append(RoomRow(**row, **of_member))
    return found


def members_of(rows: Rows) -> list[MemberRow]:
    """Return the members that `MEMBERS` has found."""
    return [MemberRow(**row) for row in rows]
