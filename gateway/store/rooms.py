"""Rooms and memberships: found, listed, made and changed."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from gateway.store.failures import NameTaken
from gateway.store.prepared import Rows, Statement, items, items_of
from gateway.store.tables import AMONG_MEMBERS, invitations, memberships, rooms, users
from schemas.api.rooms import ServiceRoom
from schemas.base import timestamp
from schemas.messages.rooms import Role, Room

DIRECT = "dm-"
"""The beginning of direct rooms' names. No other room may use it."""

REMOVED = "~"
"""The beginning of deleted rooms' names. No name on the wire has it."""

ME = bindparam("me", type_=Text())
"""The requesting user's id, a parameter of statements."""


@dataclass(frozen=True, slots=True)
class RoomPosition:
    """The position of a room when the store was read."""

    name: str
    epoch: str
    offset: int
    arrivals: int
    """How many memberships had begun."""
    departures: int
    """How many memberships had ended. A departure with a lower number does not affect members of that time."""

    @property
    def members(self) -> int:
        """Return how many members it had."""
        return self.arrivals - self.departures


@dataclass  # frozen, it would take three times as long to make, and a page has many
class RoomRow:
    """A room as stored, and the requesting user's part in it. It is shared, so nothing changes it."""

    id: int
    name: str
    title: str | None
    private: bool
    direct: bool
    epoch: str
    offset: int
    pruned: int
    created_at: int
    arrivals: int
    """How many memberships have begun."""
    departures: int
    """How many memberships have ended."""
    stored_bytes: int = 0
    """The bytes of its messages."""
    left_by: str | None = None
    """The id of the user that left it without members. It counts as this user's own until another user joins."""
    removed_at: int | None = None
    oldest_at: int = 0
    vacant: int = 0
    kept: bool = False
    """Whether a service has made it. Then it stays without members, and no user owns it by joining."""
    signals: bool = True
    """Whether it takes signals."""
    role: Role | None = None
    invited: bool = False
    unread: int | None = None

    def to_schema(self, role: Role | None = None) -> Room:
        """Return what a user may see of it."""
        return Room(
            name=self.name,
            title=self.title,
            private=self.private,
            direct=self.direct,
            signals=None if self.signals else False,
            epoch=self.epoch,
            offset=self.offset,
            created_at=timestamp(self.created_at),
            role=role or self.role,
            invited=self.invited or None,
            unread=self.unread,
        )

    def to_service_schema(self) -> ServiceRoom:
        """Return what services and operators see of it."""
        return ServiceRoom(
            name=self.name,
            title=self.title,
            private=self.private,
            direct=self.direct,
            kept=self.kept,
            signals=self.signals,
            epoch=self.epoch,
            offset=self.offset,
            members=self.members,
            stored_bytes=self.stored_bytes,
            created_at=timestamp(self.created_at),
        )

    @property
    def position(self) -> RoomPosition:
        """Return its position when it was read."""
        return RoomPosition(self.name, self.epoch, self.offset, self.arrivals, self.departures)

    @property
    def members(self) -> int:
        """Return how many members it has."""
        return self.arrivals - self.departures

    @property
    def hidden(self) -> bool:
        """Return whether the requesting user may not use it: a private room does not exist for users outside it."""
        return self.private and self.role is None

    @property
    def closed(self) -> bool:
        """Return whether the requesting user may not even join it."""
        return self.hidden and not self.invited

    def to_invitation(self) -> Room:
        """Return what an invited user sees of it."""
        return replace(self, role=None, invited=True, unread=None).to_schema()


def add(
    connection: Connection,
    *,
    name: str,
    title: str | None = None,
    private: bool = False,
    direct: bool = False,
    now: int,
) -> RoomRow:
    """Make a room with an empty log, or raise `NameTaken`."""
    values: dict[str, Any] = {
        "name": name,
        "title": title,
        "private": private,
        "direct": direct,
        "epoch": secrets.token_urlsafe(6),
        "offset": 0,
        "pruned": 0,
        "created_at": now,
        "arrivals": 0,
        "departures": 0,
    }
    _lock_name(connection, name)
    try:
        result = connection.execute(insert(rooms).values(values).returning(rooms.c.id))
    except IntegrityError:
        raise NameTaken(name) from None
    return RoomRow(id=result.scalar_one(), **values)


def direct_name(user_ids: Sequence[str]) -> str:
    """Return the name of the one direct room of two users, the same for both."""
    return DIRECT + hashlib.sha256(" ".join(sorted(user_ids)).encode()).hexdigest()[:32]


def _mine(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column of the requesting user's membership in a room, or null.

    As a subquery, which no planner reads from the other end: a user may have thousands of memberships.
    """
    mine = and_(memberships.c.room_id == rooms.c.id, memberships.c.user_id == ME)
    return select(column).where(mine).correlate(rooms).scalar_subquery()


def seen_by_me(*more: ColumnElement[Any]) -> Select[Any]:
    """Return a query of rooms as the user `me` sees them, with more columns of its memberships."""
    to_me = and_(invitations.c.room_id == rooms.c.id, invitations.c.user_id == ME)
    # No `EXISTS`, for which PostgreSQL may read all invitations at once.
    invited = select(invitations.c.room_id).where(to_me).correlate(rooms).scalar_subquery().is_not(None)
    mine = (_mine(column).label(column.name) for column in (memberships.c.role, *more))
    return select(rooms, *mine, invited.label("invited")).where(rooms.c.removed_at.is_(None))


def is_there(room_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether the room of a row is not deleted: as a subquery, since a join may begin with all rooms."""
    return select(rooms.c.removed_at).where(rooms.c.id == room_id).scalar_subquery().is_(None)


_FIND = seen_by_me().where(rooms.c.name == bindparam("name", type_=Text()))

FIND = Statement(lambda _: _FIND)
"""Finds a room `name` as the user `me` sees it, like `find`, for `Database.fetch`."""


def _find_each(database: str) -> Select[Any]:
    name, me = items(database, Text(), Text())
    named = select(rooms).where(rooms.c.name == name, rooms.c.removed_at.is_(None))
    # PostgreSQL may compare all rooms with all items. With the limit, it looks up one room for each item.
    each = rooms if database == "sqlite" else named.limit(1).lateral()
    of_me = and_(memberships.c.room_id == each.c.id, memberships.c.user_id == me)
    to_me = and_(invitations.c.room_id == each.c.id, invitations.c.user_id == me)
    role = select(memberships.c.role).where(of_me).correlate_except(memberships).scalar_subquery()
    invited = select(invitations.c.user_id).where(to_me).correlate_except(invitations).scalar_subquery().is_not(None)
    # The items come first, since a lateral part refers to what is before it.
    query = select(me.label("me"), each, role.label("role"), invited.label("invited"))
    return query.where(rooms.c.name == name, rooms.c.removed_at.is_(None)) if each is rooms else query


FIND_EACH = Statement(_find_each)
"""Does what `FIND` does for each of the items: a name and the id of a user, which is in the column `me`."""


def from_rows(rows: Rows) -> RoomRow | None:
    """Return the room that a prepared statement has found, or None."""
    return RoomRow(**rows[0]) if rows else None


def by_name(connection: Connection, name: str) -> RoomRow | None:
    """Return a room by name."""
    return _room(connection.execute(select(rooms).where(rooms.c.name == name)).one_or_none())


def find(connection: Connection, name: str, user_id: str, *, lock: bool = False) -> RoomRow | None:
    """Return a room by name, with a user's role in it.

    With `lock`, no other writer changes the room, or creates it, until the end of the transaction.
    """
    if lock and not _lock(connection, name):
        _lock_name(connection, name)
        _lock(connection, name)  # another writer may have created it before the lock on the name
    return _room(connection.execute(_FIND, {"me": user_id, "name": name}).one_or_none())


def _lock(connection: Connection, name: str) -> bool:
    """Lock a room, in its own statement: a statement that has waited sees older states of all other rows."""
    if connection.dialect.name == "sqlite":
        return True  # a SQLite transaction that writes locks everything
    query = select(rooms.c.id).where(rooms.c.name == name).with_for_update()
    return connection.execute(query).one_or_none() is not None


def _lock_name(connection: Connection, name: str) -> None:
    """Lock the name of a room, which need not exist."""
    if connection.dialect.name != "sqlite":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def add_member(connection: Connection, room: RoomRow, user_id: str, role: Role, now: int) -> int:
    """Make a user a member, with all messages so far marked as read, and return how many memberships have begun.

    This ends an invitation.
    """
    connection.execute(delete(invitations).where(_invitation(room.id, user_id)))
    values = {
        "room_id": room.id,
        "user_id": user_id,
        "role": role,
        "joined_at": now,
        "read": room.offset,
        "user_name": select(users.c.name).where(users.c.id == user_id).scalar_subquery(),
        "room_name": room.name,
    }
    connection.execute(insert(memberships).values(values))
    return _count_one(connection, room.id, rooms.c.arrivals)


def remove_member(connection: Connection, room_id: int, user_id: str) -> int:
    """End a membership, and return how many have ended in this room so far."""
    connection.execute(delete(memberships).where(_membership(room_id, user_id)))
    return _count_one(connection, room_id, rooms.c.departures)


def _count_one(connection: Connection, room_id: int, count: ColumnElement[int]) -> int:
    """Raise a room's count of arrivals or departures by one, and return it."""
    change = update(rooms).where(rooms.c.id == room_id).values({count: count + 1})
    number: int = connection.execute(change.returning(count)).scalar_one()
    return number


_POSITION = (rooms.c.name, rooms.c.epoch, rooms.c.offset, rooms.c.arrivals, rooms.c.departures)

POSITIONS = Statement(lambda database: select(*_POSITION).where(rooms.c.name.in_(select(*items(database, Text())))))
"""Reads the positions of those rooms that exist."""


@cache
def _members_among(database: str) -> Select[Any]:
    # As a subquery, which no planner reads from the other end: all members of the room.
    [user_id] = items(database, Text())
    each = select(user_id.label("user_id")).subquery()
    mine = and_(memberships.c.room_id == bindparam("room"), memberships.c.user_id == each.c.user_id)
    role = select(memberships.c.role).where(mine).scalar_subquery()
    return select(each.c.user_id).where(role.is_not(None))


def members_among(connection: Connection, room_id: int, user_ids: Sequence[str]) -> set[str]:
    """Return those of these users that are members of a room."""
    query = _members_among(connection.dialect.name)
    return set(connection.execute(query, {"room": room_id, "items": items_of(user_ids)}).scalars())


def find_role(connection: Connection, room_id: int, user_id: str) -> Role | None:
    """Return a user's role in a room, or None."""
    query = select(memberships.c.role).where(_membership(room_id, user_id))
    role: Role | None = connection.execute(query).scalar_one_or_none()
    return role


def set_role(connection: Connection, room_id: int, user_id: str, role: Role) -> None:
    """Set a member's role."""
    connection.execute(update(memberships).where(_membership(room_id, user_id)).values(role=role))


def count_with_role(connection: Connection, room_id: int, role: Role) -> int:
    """Count the members of a room with a role."""
    query = select(func.count()).select_from(memberships)
    with_role = and_(memberships.c.room_id == room_id, memberships.c.role == role, AMONG_MEMBERS)
    return connection.execute(query.where(with_role)).scalar_one()


def count_of_user(connection: Connection, user_id: str, limit: int, role: Role | None = None) -> int:
    """Count the rooms that a user is a member of, or has one role in, up to a limit."""
    query = select(memberships.c.user_id).where(memberships.c.user_id == user_id, is_there(memberships.c.room_id))
    if role is not None:
        query = query.where(memberships.c.role == role)
    found = query.limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(found)).scalar_one()


def count_owned(connection: Connection, user_id: str, limit: int) -> int:
    """Count the rooms that a user owns or has left without members, up to a limit."""
    left = select(rooms.c.id).where(rooms.c.left_by == user_id).limit(limit).subquery()
    abandoned: int = connection.execute(select(func.count()).select_from(left)).scalar_one()
    return min(limit, abandoned + count_of_user(connection, user_id, limit, "owner"))


def change(
    connection: Connection, room: RoomRow, *, title: str | None, private: bool | None, signals: bool | None
) -> RoomRow:
    """Change the given attributes of a room."""
    changed = replace(
        room,
        title=room.title if title is None else title,
        private=room.private if private is None else private,
        signals=room.signals if signals is None else signals,
    )
    values = {"title": changed.title, "private": changed.private, "signals": changed.signals}
    connection.execute(update(rooms).where(rooms.c.id == room.id).values(values))
    return changed


def remove(connection: Connection, room_id: int, now: int) -> None:
    """Delete a room: it cannot be found any more, and its name is free.

    Its memberships, invitations and messages stay until `pruning` has removed them, bit by bit. So a query that does
    not find its rooms by name must leave out rooms with `removed_at`.
    """
    values = {"name": f"{REMOVED}{room_id}", "private": True, "left_by": None, "removed_at": now}
    connection.execute(update(rooms).where(rooms.c.id == room_id).values(values))


def _invitation(room_id: int, user_id: str) -> Any:
    return and_(invitations.c.room_id == room_id, invitations.c.user_id == user_id)


def _membership(room_id: int, user_id: str) -> Any:
    return and_(memberships.c.room_id == room_id, memberships.c.user_id == user_id)


def _room(row: Row[Any] | None) -> RoomRow | None:
    return None if row is None else _as_room(row)


def _as_room(row: Row[Any]) -> RoomRow:
    return RoomRow(**row._mapping)
