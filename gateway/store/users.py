"""Users."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables import users
from handlers.errors import Conflict
from schemas.base import timestamp
from schemas.users import User

DEFAULT_SCOPES = frozenset({"chat:read", "chat:write", "rooms:manage"})
"""What every user may do; `admin` is given by name."""


@dataclass(frozen=True)
class UserRow:
    """A user as stored."""

    id: str
    name: str
    password_hash: str
    full_name: str | None
    email: str | None
    scopes: str
    disabled: bool
    created_at: int
    last_seen_at: int | None

    def shown(self) -> User:
        """Give what the user may see of itself."""
        return User(
            id=self.id,
            username=self.name,
            full_name=self.full_name,
            email=self.email,
            scopes=tuple(self.scopes.split()),
            created_at=timestamp(self.created_at),
        )


async def add(
    connection: AsyncConnection,
    *,
    name: str,
    password_hash: str,
    full_name: str | None = None,
    email: str | None = None,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    now: int,
) -> UserRow:
    """Add a user, or raise `Conflict` if the name is taken."""
    row = UserRow(
        id=secrets.token_hex(16),
        name=name,
        password_hash=password_hash,
        full_name=full_name,
        email=email,
        scopes=" ".join(sorted(scopes)),
        disabled=False,
        created_at=now,
        last_seen_at=None,
    )
    try:
        await connection.execute(insert(users).values(vars(row)))
    except IntegrityError:
        raise Conflict(f"the user name `{name}` is taken; choose another") from None
    return row


async def by_name(connection: AsyncConnection, name: str) -> UserRow | None:
    """Find a user by name."""
    found = (await connection.execute(select(users).where(users.c.name == name))).one_or_none()
    return UserRow(**found._mapping) if found else None


async def by_id(connection: AsyncConnection, user_id: str) -> UserRow | None:
    """Find a user by the id that a token's `sub` holds."""
    return await connection.run_sync(found_by_id, user_id)


def found_by_id(connection: Connection, user_id: str) -> UserRow | None:
    """Do what `by_id` does, for `Database.look_up`."""
    found = connection.execute(select(users).where(users.c.id == user_id)).one_or_none()
    return UserRow(**found._mapping) if found else None


async def everyone(connection: AsyncConnection) -> list[UserRow]:
    """List all users by name."""
    return [UserRow(**row._mapping) for row in await connection.execute(select(users).order_by(users.c.name))]


async def last_seen(connection: AsyncConnection, names: Iterable[str]) -> dict[str, int]:
    """Tell when users were last seen; those who never were, or do not exist, are left out."""
    query = select(users.c.name, users.c.last_seen_at).where(users.c.name.in_(names), users.c.last_seen_at.is_not(None))
    return {row.name: row.last_seen_at for row in await connection.execute(query)}


async def set_password(connection: AsyncConnection, name: str, password_hash: str) -> bool:
    """Store a new hash; tells whether there is such a user."""
    result = await connection.execute(update(users).where(users.c.name == name).values(password_hash=password_hash))
    return result.rowcount == 1


async def set_disabled(connection: AsyncConnection, name: str, disabled: bool) -> bool:
    """Disable or enable a user; tells whether there is such a user."""
    result = await connection.execute(update(users).where(users.c.name == name).values(disabled=disabled))
    return result.rowcount == 1


async def saw(connection: AsyncConnection, user_id: str, now: int) -> None:
    """Note that a user was here until now."""
    await connection.execute(update(users).where(users.c.id == user_id).values(last_seen_at=now))


async def add_outsider(connection: AsyncConnection, *, user_id: str, name: str, now: int) -> UserRow:
    """Add a user whom an outside service vouches for, or raise `Conflict` if the id or the name is taken.

    Such a user has no password, and no scopes but those that are granted here: the others are the service's to give.
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
        await connection.execute(insert(users).values(vars(row)))
    except IntegrityError:
        raise Conflict(f"the user name `{name}` is taken") from None
    return row
