"""Users: found, listed, added and changed."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from sqlalchemy import BigInteger, ColumnElement, Connection, Text, Update, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gateway.store.failures import NameTaken
from gateway.store.prepared import Rows, Script, Statement, items
from gateway.store.tables import users
from schemas.base import timestamp
from schemas.names import DEFAULT_SCOPES
from schemas.services import SENDER_PREFIX
from schemas.users import User

THERE = users.c.deleted_at.is_(None)
"""The condition of every look-up of users by their names: the row of a deleted user only keeps the name."""


@dataclass(frozen=True)
class UserRow:
    """A user as stored."""

    id: str
    name: str
    password_hash: str = field(repr=False)
    full_name: str | None
    email: str | None
    scopes: str
    disabled: bool
    created_at: int
    last_seen_at: int | None
    disabled_at: int | None = None
    stored_bytes: int = 0
    """The bytes of the user's messages."""
    room_rights: str | None = None
    """What the user's groups allow in which rooms; None without a group."""
    deleted_at: int | None = None
    """When the user was deleted. The row stays, so that the name is no other user's."""
    successor_id: str | None = None
    """The row that takes over the messages of a deleted user, while that is under way."""

    def to_schema(self) -> User:
        """Return what the user may see of itself."""
        return _to_schema(self)


def new(
    *,
    name: str,
    password_hash: str,
    full_name: str | None,
    email: str | None,
    scopes: Iterable[str],
    disabled: bool,
    now: int,
) -> UserRow:
    """Return a new user with a unique id, without storing it."""
    return UserRow(
        id=secrets.token_hex(16),
        name=name,
        password_hash=password_hash,
        full_name=full_name,
        email=email,
        scopes=" ".join(sorted(scopes)),
        disabled=disabled,
        created_at=now,
        last_seen_at=None,
        disabled_at=now if disabled else None,
    )


def add(
    connection: Connection,
    *,
    name: str,
    password_hash: str,
    full_name: str | None = None,
    email: str | None = None,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    now: int,
) -> UserRow:
    """Add a user, or raise `NameTaken`."""
    row = new(
        name=name, password_hash=password_hash, full_name=full_name, email=email, scopes=scopes, disabled=False, now=now
    )
    try:
        connection.execute(insert(users).values(vars(row)))
    except IntegrityError:
        raise NameTaken(name) from None
    return row


def add_all(connection: Connection, rows: Sequence[UserRow]) -> None:
    """Add users. Their names must be free."""
    connection.execute(insert(users), [vars(row) for row in rows])


def taken_names(connection: Connection, names: Sequence[str]) -> set[str]:
    """Return those of these names that have a user."""
    found: set[str] = set()
    for start in range(0, len(names), 1000):
        query = select(users.c.name).where(users.c.name.in_(names[start : start + 1000]))
        found.update(connection.execute(query).scalars())
    return found


def ids_of(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """Return the ids of users by their names; names without a user are left out."""
    found: dict[str, str] = {}
    for start in range(0, len(names), 1000):
        query = select(users.c.name, users.c.id).where(users.c.name.in_(names[start : start + 1000]), THERE)
        found.update((row.name, row.id) for row in connection.execute(query))
    return found


def by_name(connection: Connection, name: str) -> UserRow | None:
    """Return a user by name, or None."""
    found = connection.execute(select(users).where(users.c.name == name, THERE)).one_or_none()
    return UserRow(**found._mapping) if found else None


def by_id(connection: Connection, user_id: str) -> UserRow | None:
    """Return a user by id, or None."""
    found = connection.execute(select(users).where(users.c.id == user_id, THERE)).one_or_none()
    return UserRow(**found._mapping) if found else None


class UserRights(NamedTuple):
    """What a credential needs to know of its user, and the user of itself."""

    id: str
    name: str
    scopes: str
    disabled: bool
    full_name: str | None
    email: str | None
    created_at: int
    room_rights: str | None
    """What the user's groups allow in which rooms; None without a group."""

    def to_schema(self) -> User:
        """Return what the user may see of itself."""
        return _to_schema(self)


def _to_schema(user: UserRow | UserRights) -> User:
    return User(
        id=user.id,
        username=user.name,
        full_name=user.full_name,
        email=user.email,
        scopes=tuple(user.scopes.split()),
        created_at=timestamp(user.created_at),
    )


RIGHTS = tuple(users.c[name] for name in UserRights._fields)

RIGHTS_BY_ID = Statement(lambda database: select(*RIGHTS).where(users.c.id.in_(select(*items(database, Text())))))
"""Reads the rights of users, by their ids."""


def from_rows(rows: Rows) -> UserRow | None:
    """Return the user that a prepared statement has found, or None."""
    return UserRow(**rows[0]) if rows else None


def list_all(connection: Connection) -> list[UserRow]:
    """List all users by name, without the services."""
    query = select(users).where(users.c.name.not_like(f"{SENDER_PREFIX}%"), THERE).order_by(users.c.name)
    return [UserRow(**row._mapping) for row in connection.execute(query)]


IDS_BY_NAME = Statement(
    lambda database: select(users.c.name, users.c.id).where(
        users.c.name.in_(select(*items(database, Text()))), ~users.c.disabled
    )
)
"""Finds the ids of enabled users by their names."""

LAST_SEEN = Statement(
    lambda database: select(users.c.name, users.c.last_seen_at).where(
        users.c.name.in_(select(*items(database, Text()))), users.c.last_seen_at.is_not(None)
    )
)
"""Reads when users were last seen, by their names. Users that never were, or do not exist, are left out."""


def replace_password(connection: Connection, user_id: str, old_hash: str, new_hash: str) -> bool:
    """Replace a known password hash, and return whether it was still the current one."""
    mine = (users.c.id == user_id) & (users.c.password_hash == old_hash)
    return connection.execute(update(users).where(mine).values(password_hash=new_hash)).rowcount == 1


def set_password(connection: Connection, name: str, password_hash: str) -> str | None:
    """Store a password hash, and return the user's id, or None if there is no such user of the gateway itself."""
    # An id with a colon belongs to a user of an external service, which keeps the password.
    ours = (users.c.name == name) & users.c.id.not_like("%:%") & THERE
    change = update(users).where(ours).values(password_hash=password_hash)
    return connection.execute(change.returning(users.c.id)).scalar_one_or_none()


def set_scopes(connection: Connection, name: str, scopes: str) -> None:
    """Set the scopes that a user has from now on."""
    connection.execute(update(users).where(users.c.name == name).values(scopes=scopes))


def set_disabled(connection: Connection, name: str, disabled_at: int | None) -> str | None:
    """Disable a user, or enable it with None. Return the user's id, or None if there is no such user."""
    values = {"disabled": disabled_at is not None, "disabled_at": disabled_at}
    change = update(users).where(users.c.name == name, THERE).values(values)
    return connection.execute(change.returning(users.c.id)).scalar_one_or_none()


def enabled_among(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return those of these ids that belong to enabled users."""
    return set(connection.execute(select(users.c.id).where(users.c.id.in_(ids), ~users.c.disabled)).scalars())


def lock(connection: Connection, *ids: str) -> None:
    """Lock users, so that only one transaction at a time counts what they have. Lock their room first."""
    # In a fixed order, so that two nodes never wait for each other. Their messages can still be added.
    query = select(users.c.id).where(users.c.id.in_(ids)).order_by(users.c.id)
    connection.execute(query.with_for_update(key_share=True))


def find_locked(connection: Connection, user_id: str) -> UserRow | None:
    """Return a user, and lock it until the end of the transaction."""
    found = connection.execute(select(users).where(users.c.id == user_id).with_for_update()).one_or_none()
    return UserRow(**found._mapping) if found else None


def record_last_seen(seen: Mapping[str, int]) -> Script[None]:
    """Record until when users were connected, by their ids."""
    yield _SAW, {"items": orjson.dumps(sorted(seen.items())).decode()}


def record_last_seen_by_name(connection: Connection, names: Sequence[str], until: int) -> None:
    """Record that users of these names were connected until a time."""
    # In the order of `record_last_seen`, so that two nodes never wait for each other.
    query = select(users.c.id).where(users.c.name.in_(names)).order_by(users.c.id)
    connection.execute(query.with_for_update(key_share=True))
    connection.execute(_saw(until).where(users.c.name.in_(names)))


def _saw(until: int | ColumnElement[int]) -> Update:
    # It never goes back: of several nodes, one with a slow clock may write last.
    earlier = or_(users.c.last_seen_at.is_(None), users.c.last_seen_at < until)
    return update(users).where(earlier, THERE).values(last_seen_at=until)


def _saw_each(database: str) -> Update:
    user_id, until = items(database, Text(), BigInteger())
    return _saw(until).where(users.c.id == user_id)


_SAW = Statement(_saw_each)


def add_external(connection: Connection, *, user_id: str, name: str, now: int) -> UserRow:
    """Add a user of an external service, or raise `NameTaken`, also for the id.

    Such a user has no password. Its scopes here are only those granted here; the service grants the others.
    """
    row = UserRow(
        id=user_id,
        name=name,
        password_hash="",
        full_name=None,
        email=None,
        scopes="",
        disabled=False,
        created_at=now,
        last_seen_at=None,
    )
    try:
        connection.execute(insert(users).values(vars(row)))
    except IntegrityError:
        raise NameTaken(name) from None
    return row
