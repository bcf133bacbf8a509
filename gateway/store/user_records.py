"""All that the store has about a user, apart from messages, as records for an export. No record has a secret."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Select, or_, select

from gateway.store.tables import (
    group_members,
    groups,
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
from schemas.base import timestamp

Record = tuple[str, dict[str, Any]]
"""The type of a record, and its data."""


def account(user: UserRow) -> Record:
    """Return what the account has, without the hash of the password."""
    data = {
        "id": user.id,
        "username": user.name,
        "full_name": user.full_name,
        "email": user.email,
        "scopes": user.scopes.split(),
        "disabled": user.disabled,
        "stored_bytes": user.stored_bytes,
        "has_password": bool(user.password_hash),
    }
    times = {name: _time(getattr(user, name)) for name in ("created_at", "last_seen_at", "disabled_at", "deleted_at")}
    return "account", data | times


def of_account(connection: Connection, user: UserRow) -> list[Record]:
    """Return the account, its groups, its sessions and its tickets."""
    return [account(user), *_groups(connection, user), *_sessions(connection, user), *_tickets(connection, user)]


def _groups(connection: Connection, user: UserRow) -> Iterator[Record]:
    query = select(groups.c.name, groups.c.room_rights).join(group_members, group_members.c.group_name == groups.c.name)
    for row in connection.execute(query.where(group_members.c.user_id == user.id).order_by(groups.c.name)):
        yield "group", {"name": row.name, "rooms": orjson.Fragment(row.room_rights)}


def _sessions(connection: Connection, user: UserRow) -> Iterator[Record]:
    names = ("id", "scopes", "created_at", "last_used_at", "expires_at", "ended_at", "address", "user_agent")
    query = select(*(login_sessions.c[name] for name in names)).where(login_sessions.c.user_id == user.id)
    for row in connection.execute(query.order_by(login_sessions.c.created_at, login_sessions.c.id)):
        yield "session", _with_times(row._mapping) | {"scopes": row.scopes.split()}


def _tickets(connection: Connection, user: UserRow) -> Iterator[Record]:
    names = ("service", "scopes", "expires_at", "token_expires_at", "claims")
    query = select(*(tickets.c[name] for name in names)).where(tickets.c.user_id == user.id)
    for row in connection.execute(query.order_by(tickets.c.expires_at)):
        yield "ticket", _with_times(row._mapping) | {"scopes": row.scopes.split()}


def memberships_of(connection: Connection, user: UserRow, after: str, limit: int) -> list[Record]:
    """Return the next memberships with their read marks, by the names of the rooms."""
    names = ("role", "joined_at", "read")
    columns = rooms.c.id, rooms.c.name, rooms.c.title, rooms.c.direct, *(memberships.c[name] for name in names)
    query = select(*columns).join(rooms, rooms.c.id == memberships.c.room_id)
    query = query.where(memberships.c.user_id == user.id, rooms.c.removed_at.is_(None), rooms.c.name > after)
    rows = connection.execute(query.order_by(rooms.c.name).limit(limit)).all()
    others = _others(connection, user, [row.id for row in rows if row.direct])
    return [("membership", _membership(row, others.get(row.id))) for row in rows]


def _membership(row: Any, other: str | None) -> dict[str, Any]:
    data = {"room": row.name, "title": row.title, "direct": row.direct, "role": row.role, "read": row.read}
    return data | {"joined_at": _time(row.joined_at), "with": other}


def _others(connection: Connection, user: UserRow, room_ids: Iterable[int]) -> dict[int, str]:
    """Return the names of the other users of direct rooms."""
    query = select(memberships.c.room_id, memberships.c.user_name)
    found = connection.execute(query.where(memberships.c.room_id.in_(room_ids), memberships.c.user_id != user.id))
    return {row.room_id: row.user_name for row in found}


def of_rooms(connection: Connection, user: UserRow) -> list[Record]:
    """Return the invitations to the user and by it, and the rooms that it has left without members."""
    return [*_invitations(connection, user), *_left_rooms(connection, user)]


def _invitations(connection: Connection, user: UserRow) -> Iterator[Record]:
    invited, inviter = users.alias(), users.alias()
    columns: tuple[ColumnElement[Any], ...] = (
        rooms.c.name.label("room"),
        invited.c.name.label("user"),
        inviter.c.name.label("by"),
        invitations.c.invited_at,
    )
    query: Select[Any] = (
        select(*columns)
        .select_from(invitations)
        .join(rooms, rooms.c.id == invitations.c.room_id)
        .join(invited, invited.c.id == invitations.c.user_id)
        .join(inviter, inviter.c.id == invitations.c.inviter_id)
        .where(or_(invitations.c.user_id == user.id, invitations.c.inviter_id == user.id), rooms.c.removed_at.is_(None))
    )
    for row in connection.execute(query.order_by(invitations.c.invited_at, rooms.c.name, invited.c.name)):
        yield "invitation", _with_times(row._mapping)


def _left_rooms(connection: Connection, user: UserRow) -> Iterator[Record]:
    query = select(rooms.c.name).where(rooms.c.left_by == user.id).order_by(rooms.c.name)
    for name in connection.execute(query).scalars():
        yield "left_room", {"room": name}


def of_hooks(connection: Connection, user: UserRow) -> list[Record]:
    """Return which hooks know the user as connected, and the events about it that wait for hooks."""
    told = (webhook_presence.c.kind == "user") & (webhook_presence.c.name == user.name)
    query = select(webhook_presence.c.webhook).where(told).order_by(webhook_presence.c.webhook)
    known: list[Record] = [("hook", {"hook": name}) for name in connection.execute(query).scalars()]
    event = outgoing_events.c
    waiting = select(event.webhook, event.event_id, event.type, event.data, event.created_at)
    rows = connection.execute(waiting.where(event.stream == f"user:{user.name}").order_by(event.id))
    events = [
        {"hook": row.webhook, "id": row.event_id, "event": row.type, "data": orjson.Fragment(row.data)}
        | {"created_at": _time(row.created_at)}
        for row in rows
    ]
    return [*known, *(("hook_event", each) for each in events)]


def _with_times(values: Any) -> dict[str, Any]:
    return {str(name): _time(value) if name.endswith("_at") else value for name, value in values.items()}


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else timestamp(milliseconds)
