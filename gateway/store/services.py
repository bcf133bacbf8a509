"""Services and their keys: added, changed, listed, rotated and revoked. Times are milliseconds since 1970.

Each key has a login session with its id. So an end of the session ends the key's tokens and connections, on every node.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import ColumnElement, Connection, Text, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gateway.store import login_sessions
from gateway.store.failures import NameTaken
from gateway.store.login_sessions import LoginSessionRow
from gateway.store.prepared import Statement, items
from gateway.store.tables import login_sessions as sessions
from gateway.store.tables import service_keys, services, users
from schemas.services import ServiceKind, sender_of

NEVER = 2**53
"""The end of a session that lasts until it is ended. It is a number that JSON can hold."""

NO_PASSWORD = ""
"""No password has this hash."""


@dataclass(frozen=True)
class ServiceRow:
    """A service as stored."""

    user_id: str
    name: str
    kind: ServiceKind
    scopes: str
    rooms: str | None
    room: str | None
    created_at: int
    deleted_at: int | None = None

    @property
    def sender(self) -> str:
        """Return the name of its user, which its messages show as their sender."""
        return sender_of(self.name)


@dataclass(frozen=True)
class ServiceKeyRow:
    """A key of a service as stored."""

    id: str
    user_id: str
    hash: str = field(repr=False)
    created_at: int
    last_used_at: int | None = None
    expires_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceRights:
    """What a request of a service needs to know of its key."""

    key_id: str
    hash: str = field(repr=False)
    expires_at: int | None
    revoked_at: int | None
    user_id: str
    name: str
    kind: ServiceKind
    scopes: str
    rooms: str | None
    room: str | None
    deleted_at: int | None


RIGHTS_BY_KEY = Statement(
    lambda database: (
        select(
            service_keys.c.id.label("key_id"),
            service_keys.c.hash,
            service_keys.c.expires_at,
            service_keys.c.revoked_at,
            services.c.user_id,
            services.c.name,
            services.c.kind,
            services.c.scopes,
            services.c.rooms,
            services.c.room,
            services.c.deleted_at,
        )
        .join(services, services.c.user_id == service_keys.c.user_id)
        .where(service_keys.c.id.in_(select(*items(database, Text()))))
    )
)
"""Reads the rights of services, by the ids of their keys. Keys that do not exist are left out."""


def add(
    connection: Connection,
    *,
    name: str,
    kind: ServiceKind,
    scopes: Iterable[str],
    rooms: Iterable[str] | None,
    room: str | None = None,
    now: int,
) -> ServiceRow:
    """Add a service, or raise `NameTaken`. One of a deleted name gets the user of that one, with its messages."""
    sender = sender_of(name)
    user_id = connection.execute(
        select(users.c.id).where(users.c.name == sender).with_for_update()
    ).scalar_one_or_none()
    if user_id is not None and find(connection, name) is not None:
        raise NameTaken(name)
    row = ServiceRow(
        user_id=user_id or secrets.token_hex(16),
        name=name,
        kind=kind,
        scopes=" ".join(sorted(scopes)),
        rooms=None if rooms is None else " ".join(rooms),
        room=room,
        created_at=now,
    )
    if user_id is None:
        try:
            connection.execute(insert(users).values(_user_of(row)))
        except IntegrityError:  # another command has just added it
            raise NameTaken(name) from None
        connection.execute(insert(services).values(vars(row)))
    else:
        connection.execute(update(services).where(services.c.user_id == user_id).values(vars(row)))
        connection.execute(update(users).where(users.c.id == user_id).values(scopes=row.scopes))
    return row


def _user_of(row: ServiceRow) -> dict[str, object]:
    return {
        "id": row.user_id,
        "name": row.sender,
        "password_hash": NO_PASSWORD,
        "scopes": row.scopes,
        "disabled": False,
        "created_at": row.created_at,
    }


def find(connection: Connection, name: str) -> ServiceRow | None:
    """Return a service by name, or None."""
    query = select(services).where(services.c.name == name, services.c.deleted_at.is_(None))
    found = connection.execute(query).one_or_none()
    return ServiceRow(**found._mapping) if found else None


def list_all(connection: Connection, kind: ServiceKind, now: int) -> list[tuple[ServiceRow, list[ServiceKeyRow]]]:
    """List the services of a kind by name, each with its keys that count, the oldest first."""
    there = (services.c.kind == kind) & services.c.deleted_at.is_(None)
    found = connection.execute(select(services).where(there).order_by(services.c.name)).all()
    keys: dict[str, list[ServiceKeyRow]] = {}
    lasts = or_(service_keys.c.expires_at.is_(None), service_keys.c.expires_at > now)
    living = select(service_keys).where(service_keys.c.revoked_at.is_(None), lasts)
    for row in connection.execute(living.order_by(service_keys.c.created_at, service_keys.c.id)):
        keys.setdefault(row.user_id, []).append(ServiceKeyRow(**row._mapping))
    return [(ServiceRow(**row._mapping), keys.get(row.user_id, [])) for row in found]


def change(connection: Connection, row: ServiceRow, *, scopes: Iterable[str] | None, rooms: str | None) -> ServiceRow:
    """Replace the scopes of a service, unless they are None, and the patterns of its rooms. Return it as it is now."""
    changed = replace(row, scopes=row.scopes if scopes is None else " ".join(sorted(scopes)), rooms=rooms)
    connection.execute(update(services).where(services.c.user_id == row.user_id).values(vars(changed)))
    connection.execute(update(users).where(users.c.id == row.user_id).values(scopes=changed.scopes))
    return changed


def add_key(connection: Connection, service: ServiceRow, key: ServiceKeyRow) -> None:
    """Add a key, with the session of its tokens."""
    connection.execute(insert(service_keys).values(vars(key)))
    session = LoginSessionRow(
        id=key.id,
        user_id=service.user_id,
        scopes=service.scopes,
        created_at=key.created_at,
        last_used_at=key.created_at,
        expires_at=NEVER,
    )
    login_sessions.add(connection, session)


def expire_keys(connection: Connection, user_id: str, at: int, *, but: str) -> list[str]:
    """Let all keys of a service but one end at a time, if they would last longer. Return their ids."""
    living = _living(user_id) & (service_keys.c.id != but)
    longer = living & or_(service_keys.c.expires_at.is_(None), service_keys.c.expires_at > at)
    change = update(service_keys).where(longer).values(expires_at=at)
    return list(connection.execute(change.returning(service_keys.c.id)).scalars())


def revoke_keys(connection: Connection, user_id: str, now: int, *, only: str | None = None) -> list[str]:
    """Revoke the keys of a service, all or `only` one. Return the ids of those that had not been revoked."""
    living = _living(user_id)
    if only is not None:
        living &= service_keys.c.id == only
    change = update(service_keys).where(living).values(revoked_at=now)
    revoked = list(connection.execute(change.returning(service_keys.c.id)).scalars())
    connection.execute(update(sessions).where(sessions.c.id.in_(revoked)).values(ended_at=now))
    return revoked


def remove(connection: Connection, user_id: str, now: int) -> list[str]:
    """Delete a service and revoke its keys. Its messages stay. Return the ids of the revoked keys."""
    connection.execute(update(services).where(services.c.user_id == user_id).values(deleted_at=now))
    return revoke_keys(connection, user_id, now)


def without_scope(connection: Connection, scope: str, key_ids: Sequence[str]) -> list[tuple[str, str]]:
    """List the keys among these with a service that lacks a scope: the id of its user, and that of the key."""
    query = select(service_keys.c.user_id, service_keys.c.id, services.c.scopes)
    found = connection.execute(
        query.join(services, services.c.user_id == service_keys.c.user_id).where(service_keys.c.id.in_(key_ids))
    )
    return [(user_id, key_id) for user_id, key_id, scopes in found if scope not in scopes.split()]


def prune_keys(connection: Connection, before: int) -> int:
    """Remove the keys that were revoked or expired before a time, with their sessions, and return their number."""
    old = or_(service_keys.c.revoked_at < before, service_keys.c.expires_at < before)
    ids = list(connection.execute(delete(service_keys).where(old).returning(service_keys.c.id)).scalars())
    connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
    return len(ids)


def record_use(connection: Connection, used: Mapping[str, int]) -> None:
    """Record when keys were used last, by their ids."""
    # In a fixed order, so that two nodes never wait for each other.
    for key, at in sorted(used.items()):
        earlier = or_(service_keys.c.last_used_at.is_(None), service_keys.c.last_used_at < at)
        connection.execute(update(service_keys).where(service_keys.c.id == key, earlier).values(last_used_at=at))


def _living(user_id: str) -> ColumnElement[bool]:
    return (service_keys.c.user_id == user_id) & service_keys.c.revoked_at.is_(None)
