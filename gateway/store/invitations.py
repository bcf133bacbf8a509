"""Invitations, which wait until their users join or decline."""

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, delete, func, insert, select

from gateway.store.rooms import is_there
from gateway.store.tables import invitations, rooms, users


def add(connection: Connection, room_id: int, user_id: str, inviter_id: str, now: int) -> None:
    """Invite a user."""
    values = {"room_id": room_id, "user_id": user_id, "inviter_id": inviter_id, "invited_at": now}
    connection.execute(insert(invitations).values(values))


def exists(connection: Connection, room_id: int, user_id: str) -> bool:
    """Return whether a user is invited to a room."""
    query = select(invitations.c.room_id).where(_invitation(room_id, user_id))
    return connection.execute(query).one_or_none() is not None


def remove(connection: Connection, room_id: int, user_id: str) -> bool:
    """End an invitation, and return whether there was one."""
    return connection.execute(delete(invitations).where(_invitation(room_id, user_id))).rowcount == 1


def remove_all(connection: Connection, room_id: int) -> None:
    """End all invitations to a room."""
    connection.execute(delete(invitations).where(invitations.c.room_id == room_id))


def oldest_in_room(connection: Connection, room_id: int) -> tuple[str, str] | None:
    """Return the names of the user and the room of the oldest invitation to a room."""
    return _oldest(connection, invitations.c.room_id == room_id)


def oldest_by_inviter(connection: Connection, user_id: str) -> tuple[str, str] | None:
    """Return the names of the user and the room of the oldest invitation that a user has sent."""
    return _oldest(connection, invitations.c.inviter_id == user_id)


def count_in_room(connection: Connection, room_id: int, limit: int) -> int:
    """Count the invitations to a room, up to a limit."""
    return _count(connection, invitations.c.room_id, room_id, limit)


def count_of_user(connection: Connection, user_id: str, limit: int) -> int:
    """Count the invitations that wait for a user, up to a limit."""
    return _count(connection, invitations.c.user_id, user_id, limit)


def count_by_inviter(connection: Connection, user_id: str, limit: int) -> int:
    """Count the invitations that a user has sent and that still wait, up to a limit."""
    return _count(connection, invitations.c.inviter_id, user_id, limit)


def _count(connection: Connection, column: Column[Any], value: object, limit: int) -> int:
    found = select(column).where(column == value, is_there(invitations.c.room_id)).limit(limit).subquery()
    return connection.execute(select(func.count()).select_from(found)).scalar_one()


def _oldest(connection: Connection, condition: ColumnElement[bool]) -> tuple[str, str] | None:
    query = (
        select(users.c.name, rooms.c.name)
        .select_from(invitations)
        .join(users, users.c.id == invitations.c.user_id)
        .join(rooms, rooms.c.id == invitations.c.room_id)
        .where(condition, rooms.c.removed_at.is_(None))
        .order_by(invitations.c.invited_at, rooms.c.id, users.c.name)
    )
    found = connection.execute(query.limit(1)).one_or_none()
    return None if found is None else (found[0], found[1])


def _invitation(room_id: int, user_id: str) -> Any:
    return and_(invitations.c.room_id == room_id, invitations.c.user_id == user_id)
