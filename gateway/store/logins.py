"""Logins: what a log-in began, and what its refresh tokens prolong until it ends.

All of this is for `Database.query` and `Database.transact`. Times are milliseconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, null, or_, select, union_all, update

from gateway.store.prepared import Statement
from gateway.store.tables import logins, users
from gateway.store.users import UserRow
from schemas.base import timestamp
from schemas.sessions import LoginSession


@dataclass(frozen=True)
class LoginRow:
    """A login as stored."""

    id: str
    user_id: str
    scopes: str
    created_at: int
    last_used_at: int
    expires_at: int
    family_hash: str | None = field(default=None, repr=False)
    refresh_hash: str | None = field(default=None, repr=False)
    previous_hash: str | None = field(default=None, repr=False)
    nonce: str | None = field(default=None, repr=False)
    ended_at: int | None = None
    address: str | None = None
    user_agent: str | None = None

    def to_schema(self, *, current: bool) -> LoginSession:
        """Give what its user may see of it."""
        return LoginSession(
            id=self.id,
            current=current,
            scopes=tuple(self.scopes.split()),
            created_at=timestamp(self.created_at),
            last_used_at=timestamp(self.last_used_at),
            expires_at=timestamp(self.expires_at),
            address=self.address,
            user_agent=self.user_agent,
        )


_USER_OF = (
    select(*(users.c[field.name] for field in fields(UserRow)))
    .join(logins, logins.c.user_id == users.c.id)
    .where(logins.c.id == bindparam("login_id"), logins.c.ended_at.is_(None), users.c.id == bindparam("user_id"))
)

USER_OF = Statement(lambda _: _USER_OF)
"""Finds the user of a login as `user_of` does, for `Database.fetch`: every connection and every request asks this."""


def add(connection: Connection, row: LoginRow) -> None:
    """Add a login."""
    connection.execute(insert(logins).values(vars(row)))


def user_of(connection: Connection, login_id: str, user_id: str) -> UserRow | None:
    """Find the user of a login, if that is the login's user and the login has not been ended."""
    found = connection.execute(_USER_OF, {"login_id": login_id, "user_id": user_id}).one_or_none()
    return UserRow(*found) if found else None


def of_family(connection: Connection, family_hash: str) -> LoginRow | None:
    """Find the login that a refresh token is of."""
    found = connection.execute(select(logins).where(logins.c.family_hash == family_hash)).one_or_none()
    return LoginRow(**found._mapping) if found else None


def locked(connection: Connection, login_id: str) -> LoginRow | None:
    """Find a login, and keep others from changing it until the end of the transaction."""
    found = connection.execute(select(logins).where(logins.c.id == login_id).with_for_update()).one_or_none()
    return LoginRow(**found._mapping) if found else None


def rotate(connection: Connection, login: LoginRow, *, refresh_hash: str, nonce: str, now: int) -> None:
    """Make another refresh token the one that holds; with the nonce it follows from the one that was."""
    change = {"refresh_hash": refresh_hash, "previous_hash": login.refresh_hash, "nonce": nonce, "last_used_at": now}
    connection.execute(update(logins).where(logins.c.id == login.id).values(change))


def end(
    connection: Connection, user_id: str, now: int, *, only: str | None = None, but: str | None = None
) -> list[str]:
    """End a user's logins: all of them, `only` one, or all `but` one; gives the ids of those that had not ended yet."""
    mine = (logins.c.user_id == user_id) & (logins.c.ended_at.is_(None))
    if only is not None:
        mine &= logins.c.id == only
    if but is not None:
        mine &= logins.c.id != but
    change = update(logins).where(mine).values(ended_at=now)
    return list(connection.execute(change.returning(logins.c.id)).scalars())


def of_user(connection: Connection, user_id: str, now: int, idle_since: int) -> list[LoginRow]:
    """List a user's logins that live, the one used last first."""
    query = select(logins).where(_lives(user_id, now, idle_since)).order_by(logins.c.last_used_at.desc(), logins.c.id)
    return [LoginRow(**row._mapping) for row in connection.execute(query)]


def end_beyond(connection: Connection, user_id: str, now: int, idle_since: int, keep: int) -> list[str]:
    """End all but the `keep` of a user's logins that were used last; gives the ids of those that had not ended yet."""
    query = select(logins.c.id).where(_lives(user_id, now, idle_since)).order_by(logins.c.last_used_at.desc())
    too_many = list(connection.execute(query.offset(keep)).scalars())
    if too_many:
        connection.execute(update(logins).where(logins.c.id.in_(too_many)).values(ended_at=now))
    return too_many


def ended_since(connection: Connection, since: int) -> list[tuple[str, str | None]]:
    """List what was ended at or after a time: a user's id and a login's, or a disabled user's and None."""
    ended = select(logins.c.user_id, logins.c.id).where(logins.c.ended_at >= since)
    disabled = select(users.c.id, null()).where(users.c.disabled_at >= since)
    return [(user_id, login_id) for user_id, login_id in connection.execute(union_all(ended, disabled))]


def living(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Tell which of these logins have not been ended, and have a user who is not disabled."""
    query = select(logins.c.id).join(users, logins.c.user_id == users.c.id)
    live = logins.c.id.in_(ids) & logins.c.ended_at.is_(None) & ~users.c.disabled
    return set(connection.execute(query.where(live)).scalars())


def prune(connection: Connection, before: int) -> int:
    """Remove logins that ended before a time, in one way or the other; returns how many that were."""
    old = or_(logins.c.expires_at < before, logins.c.ended_at < before)
    return connection.execute(delete(logins).where(old)).rowcount


def _lives(user_id: str, now: int, idle_since: int) -> ColumnElement[bool]:
    mine = (logins.c.user_id == user_id) & (logins.c.ended_at.is_(None))
    return mine & (logins.c.expires_at > now) & (logins.c.last_used_at > idle_since)
