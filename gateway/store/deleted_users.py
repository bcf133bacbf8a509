"""Users that are being deleted, and those that were: what the store has about them goes in steps.

First the account is emptied and marked. From then on no log-in and no join finds it. Its rooms and its messages follow,
in transactions of their own. The row stays, so that its name is never another user's, unless the operator lets it go.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, or_, select, update

from gateway.store import users as stored_users
from gateway.store.tables import (
    group_members,
    invitations,
    login_sessions,
    memberships,
    outgoing_events,
    rooms,
    tickets,
    users,
    webhook_presence,
)
from gateway.store.users import UserRow
from schemas.services import is_service

PREFIX = "deleted-"
"""The beginning of the names that take over messages. With 16 hexadecimal digits behind it, no user may choose it."""

ADMIN = "admin"

_OWN_TABLES = (login_sessions, tickets, group_members)
"""The tables whose rows about a user go with the account."""


@dataclass(frozen=True)
class Holdings:
    """How much the store has about a user."""

    sessions: int
    tickets: int
    groups: int
    rooms: int
    owned_rooms: int
    direct_rooms: int
    invitations: int


class Successor(NamedTuple):
    """The row that takes over messages."""

    id: str
    name: str


class RoomOf(NamedTuple):
    """A room that a user is in, or is invited to."""

    id: int
    name: str
    direct: bool


def find(connection: Connection, name: str) -> UserRow | None:
    """Return a user by name, also one that is deleted, but none of the names that stand for others."""
    found = connection.execute(select(users).where(users.c.name == name)).one_or_none()
    user = UserRow(**found._mapping) if found else None
    return None if user is None or is_service(user.name) or user.deleted_at == 0 else user


def is_last_admin(connection: Connection, user: UserRow) -> bool:
    """Return whether no other enabled user has the scope `admin`."""
    if user.disabled or ADMIN not in user.scopes.split():
        return False
    query = select(users.c.scopes).where(users.c.id != user.id, ~users.c.disabled, users.c.scopes.contains(ADMIN))
    return not any(ADMIN in scopes.split() for scopes in connection.execute(query).scalars())


def holdings(connection: Connection, user_id: str, *, keeps_direct: bool) -> Holdings:
    """Count what the store has about a user, apart from messages.

    Direct rooms that are kept are left like others. Otherwise they count apart, also rooms with an invitation alone.
    """

    def count(query: Select[Any]) -> int:
        found: int = connection.execute(query).scalar_one()
        return found

    sessions, tickets_, groups = (
        count(select(func.count()).select_from(table).where(table.c.user_id == user_id)) for table in _OWN_TABLES
    )
    there = rooms.c.removed_at.is_(None), memberships.c.user_id == user_id
    left = there if keeps_direct else (*there, ~rooms.c.direct)
    direct_rooms = 0 if keeps_direct else count(_rooms_of(user_id, func.count()).where(rooms.c.direct))
    member = select(func.count()).select_from(memberships).join(rooms, rooms.c.id == memberships.c.room_id)
    invited = or_(invitations.c.user_id == user_id, invitations.c.inviter_id == user_id)
    return Holdings(
        sessions=sessions,
        tickets=tickets_,
        groups=groups,
        rooms=count(member.where(*left)),
        owned_rooms=count(member.where(*there, memberships.c.role == "owner")),
        direct_rooms=direct_rooms,
        invitations=count(select(func.count()).select_from(invitations).where(invited)),
    )


def mark(connection: Connection, user_id: str, now: int) -> None:
    """Empty an account, so that nothing but its name and its messages are left, and end its sessions."""
    emptied = {
        "password_hash": "",
        "full_name": None,
        "email": None,
        "scopes": "",
        "disabled": True,
        "disabled_at": now,  # so every node closes its connections
        "created_at": 0,
        "last_seen_at": None,
        "room_rights": None,
        "deleted_at": now,
    }
    connection.execute(update(users).where(users.c.id == user_id).values(emptied))
    for table in _OWN_TABLES:
        connection.execute(delete(table).where(table.c.user_id == user_id))


def successor_of(connection: Connection, user_id: str) -> Successor | None:
    """Return the row that an earlier run has made to take over a user's messages."""
    known = select(users.c.successor_id).where(users.c.id == user_id).scalar_subquery()
    found = connection.execute(select(users.c.id, users.c.name).where(users.c.id == known)).one_or_none()
    return None if found is None else Successor(*found)


def make_successor(connection: Connection, user_id: str) -> Successor:
    """Make the row that takes over a user's messages, unless there is one."""
    connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    if (known := successor_of(connection, user_id)) is not None:
        return known
    made = stored_users.new(
        name=f"{PREFIX}{secrets.token_hex(8)}",
        password_hash="",
        full_name=None,
        email=None,
        scopes=(),
        disabled=True,
        now=0,  # the time would lead back
    )
    connection.execute(insert(users).values(vars(made) | {"deleted_at": 0, "disabled_at": None}))
    connection.execute(update(users).where(users.c.id == user_id).values(successor_id=made.id))
    return Successor(made.id, made.name)


def rooms_of(connection: Connection, user_id: str, limit: int) -> list[RoomOf]:
    """List rooms that a user is a member of, and direct rooms that it is invited to."""
    query = _rooms_of(user_id, rooms.c.id, rooms.c.name, rooms.c.direct)
    return [RoomOf(*row) for row in connection.execute(query.order_by(rooms.c.name).limit(limit))]


def _rooms_of(user_id: str, *columns: ColumnElement[Any]) -> Select[Any]:
    joined = select(memberships.c.room_id).where(memberships.c.user_id == user_id)
    invited = select(invitations.c.room_id).where(invitations.c.user_id == user_id)
    mine = or_(rooms.c.id.in_(joined), rooms.c.direct & rooms.c.id.in_(invited))
    return select(*columns).select_from(rooms).where(rooms.c.removed_at.is_(None), mine)


def forget_rest(connection: Connection, user_id: str) -> None:
    """Remove invitations, and what is left in deleted rooms and in rooms without members."""
    removed = select(rooms.c.id).where(rooms.c.removed_at.is_not(None))
    connection.execute(delete(memberships).where(memberships.c.user_id == user_id, memberships.c.room_id.in_(removed)))
    mine = or_(invitations.c.user_id == user_id, invitations.c.inviter_id == user_id)
    connection.execute(delete(invitations).where(mine))
    connection.execute(update(rooms).where(rooms.c.left_by == user_id).values(left_by=None))
    for table in _OWN_TABLES:
        connection.execute(delete(table).where(table.c.user_id == user_id))


def finish(connection: Connection, user_id: str, *, frees_name: bool) -> None:
    """Forget the row that has taken over the messages, and the name too if it is to be free."""
    mine = users.c.id == user_id
    connection.execute(update(users).where(mine).values(successor_id=None))
    if frees_name:
        connection.execute(delete(users).where(mine))


class Events(NamedTuple):
    """How many events that wait for hooks have named a user, and the last one that was looked at."""

    changed: int
    last: int | None


def clear_events(
    connection: Connection, name: str, new_name: str | None, after: int, limit: int, *, removes: bool
) -> Events:
    """Take a name out of the next events that wait for hooks, and remove those that are about the user.

    Without `new_name`, messages keep their sender. With `removes`, events with its messages go.
    """
    query = select(outgoing_events.c.id, outgoing_events.c.stream, outgoing_events.c.data)
    rows = connection.execute(
        query.where(outgoing_events.c.id > after).order_by(outgoing_events.c.id).limit(limit)
    ).all()
    changed = 0
    for row in rows:
        data = _cleared(row.stream, row.data, name, new_name, removes=removes)
        if data == row.data:
            continue
        changed += 1
        mine = outgoing_events.c.id == row.id
        change = delete(outgoing_events) if data is None else update(outgoing_events).values(data=data)
        connection.execute(change.where(mine))
    return Events(changed, rows[-1].id if rows else None)


def forget_presence(connection: Connection, name: str) -> None:
    """Forget which hooks have heard that a user is connected."""
    mine = (webhook_presence.c.kind == "user") & (webhook_presence.c.name == name)
    connection.execute(delete(webhook_presence).where(mine))


def _cleared(stream: str, data: str, name: str, new_name: str | None, *, removes: bool) -> str | None:
    """Return an event's data without a name, or None if no event is left."""
    if stream == f"user:{name}":
        return None
    # As texts: JSON that is read and written again may change its numbers.
    sent = re.match(rf'(\{{"message":\{{"id":"[^"]*",[^{{}}\[\]]*?"sender":"){re.escape(name)}"', data)
    if sent is not None and removes:
        return None
    if sent is not None and new_name is not None:
        data = f"{sent[1]}{new_name}{data[sent.end() - 1 :]}"
    if (unseen := _UNSEEN.search(data)) is None or not stream.startswith("unseen:"):
        return data
    left = [each for each in unseen[1].split(",") if each != f'"{name}"']
    return f'{data[: unseen.start()]},"users":[{",".join(left)}]}}' if left else None


_UNSEEN = re.compile(r',"users":\[([^\[\]{}]*)\]\}\Z')
