"""Rooms and memberships."""

import secrets
from dataclasses import dataclass
from typing import cast

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import memberships, rooms, users
from handlers.errors import Conflict, NotAMember, NotFound
from schemas.base import timestamp
from schemas.messages.rooms import Role, Room


@dataclass(frozen=True)
class RoomRow:
    """A room as stored, and what the asking user is in it."""

    id: int
    name: str
    title: str | None
    private: bool
    epoch: str
    offset: int
    created_at: int
    role: Role | None = None

    def shown(self, role: Role | None = None) -> Room:
        """Give what a user may see of it."""
        return Room(
            name=self.name,
            title=self.title,
            private=self.private,
            epoch=self.epoch,
            offset=self.offset,
            created_at=timestamp(self.created_at),
            role=role or self.role,
        )


@dataclass(frozen=True)
class MemberRow:
    """A member of a room."""

    name: str
    role: Role
    last_seen_at: int | None


async def add(
    connection: AsyncConnection, *, name: str, title: str | None = None, private: bool = False, now: int
) -> RoomRow:
    """Make a room with an empty log, or raise `Conflict` if there is one of that name."""
    values = {
        "name": name,
        "title": title,
        "private": private,
        "epoch": secrets.token_urlsafe(6),
        "offset": 0,
        "created_at": now,
    }
    try:
        result = await connection.execute(insert(rooms).values(values).returning(rooms.c.id))
    except IntegrityError:
        raise Conflict(f"the room `{name}` exists already; join it with `room.join`") from None
    return RoomRow(id=result.scalar_one(), **values)  # type: ignore[arg-type]


def _seen_by(user_id: str):  # type: ignore[no-untyped-def]  # the type of a select is longer than the select
    mine = (memberships.c.room_id == rooms.c.id) & (memberships.c.user_id == user_id)
    return select(rooms, memberships.c.role).outerjoin(memberships, mine)


async def find(connection: AsyncConnection, name: str, user_id: str) -> RoomRow | None:
    """Find a room by name, with the role that a user has in it."""
    found = (await connection.execute(_seen_by(user_id).where(rooms.c.name == name))).one_or_none()
    return RoomRow(**found._mapping) if found else None


async def of_member(connection: AsyncConnection, name: str, user_id: str) -> RoomRow:
    """Find a room that the user is in, or raise `NotAMember` or `NotFound`.

    A private room does not exist for those who are not in it.
    """
    room = await find(connection, name, user_id)
    if room is None or (room.private and room.role is None):
        raise NotFound(f"there is no room `{name}`")
    if room.role is None:
        raise NotAMember(name)
    return room


async def page(
    connection: AsyncConnection, user_id: str, *, cursor: str | None, limit: int
) -> tuple[list[RoomRow], str | None]:
    """List public rooms and the user's own by name, after `cursor`; gives the cursor of the next page."""
    query = _seen_by(user_id).where(or_(rooms.c.private.is_(False), memberships.c.role.is_not(None)))
    if cursor is not None:
        query = query.where(rooms.c.name > cursor)
    found = [RoomRow(**row._mapping) for row in await connection.execute(query.order_by(rooms.c.name).limit(limit + 1))]
    return found[:limit], found[limit - 1].name if len(found) > limit else None


async def enter(connection: AsyncConnection, room_id: int, user_id: str, role: Role, now: int) -> None:
    """Make a user a member."""
    await connection.execute(insert(memberships).values(room_id=room_id, user_id=user_id, role=role, joined_at=now))


async def leave(connection: AsyncConnection, room_id: int, user_id: str) -> None:
    """End a membership."""
    mine = (memberships.c.room_id == room_id) & (memberships.c.user_id == user_id)
    await connection.execute(delete(memberships).where(mine))


async def count_members(connection: AsyncConnection, room_id: int) -> int:
    """Count the members of a room."""
    query = select(func.count()).select_from(memberships).where(memberships.c.room_id == room_id)
    return (await connection.execute(query)).scalar_one()


async def members(
    connection: AsyncConnection, room_id: int, *, cursor: str | None, limit: int
) -> tuple[list[MemberRow], str | None]:
    """List members by name, after `cursor`; gives the cursor of the next page."""
    query = (
        select(users.c.name, memberships.c.role, users.c.last_seen_at)
        .join(memberships, memberships.c.user_id == users.c.id)
        .where(memberships.c.room_id == room_id)
    )
    if cursor is not None:
        query = query.where(users.c.name > cursor)
    rows = (await connection.execute(query.order_by(users.c.name).limit(limit + 1))).all()
    found = [MemberRow(row.name, cast(Role, row.role), row.last_seen_at) for row in rows]
    return found[:limit], found[limit - 1].name if len(found) > limit else None


async def next_offset(connection: AsyncConnection, room_id: int) -> int:
    """Take the next offset of a room's log. It is gapless because an undone transaction gives it back."""
    query = update(rooms).where(rooms.c.id == room_id).values(offset=rooms.c.offset + 1)
    offset: int = (await connection.execute(query.returning(rooms.c.offset))).scalar_one()
    return offset
