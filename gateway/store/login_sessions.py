"""Login sessions: each begins with a log-in, and its refresh tokens extend it until it ends.

All functions are for `Database.query` and `Database.transact`. Times are milliseconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from sqlalchemy import ColumnElement, Connection, Text, bindparam, delete, insert, null, select, union_all, update

from gateway.store.prepared import Statement, items
from gateway.store.tables import login_sessions, users
from gateway.store.users import RIGHTS, UserRow
from schemas.base import timestamp
from schemas.sessions import LoginSession


@dataclass(frozen=True)
class LoginSessionRow:
    """A session as stored."""

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
        """Return what its user may see of it."""
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


_FIND_USER = (
    select(*(users.c[field.name] for field in fields(UserRow)))
    .join(login_sessions, login_sessions.c.user_id == users.c.id)
    .where(
        login_sessions.c.id == bindparam("session_id"),
        login_sessions.c.ended_at.is_(None),
        users.c.id == bindparam("user_id"),
    )
)

RIGHTS_BY_SESSION = Statement(
    lambda database: (
        select(login_sessions.c.id.label("session_id"), *RIGHTS)
        .join(users, login_sessions.c.user_id == users.c.id)
        .where(login_sessions.c.id.in_(select(*items(database, Text()))), login_sessions.c.ended_at.is_(None))
    )
)
"""Reads the rights of users, by their sessions. Sessions that have ended, or do not exist, are left out."""


def add(connection: Connection, row: LoginSessionRow) -> None:
    """Add a session."""
    connection.execute(insert(login_sessions).values(vars(row)))


def find_user(connection: Connection, session_id: str, user_id: str) -> UserRow | None:
    """Return the user of a session, or None if it belongs to another user or has been ended."""
    found = connection.execute(_FIND_USER, {"session_id": session_id, "user_id": user_id}).one_or_none()
    return UserRow(*found) if found else None


def find_by_family(connection: Connection, family_hash: str) -> LoginSessionRow | None:
    """Return the session of a refresh token, or None."""
    found = connection.execute(select(login_sessions).where(login_sessions.c.family_hash == family_hash)).one_or_none()
    return LoginSessionRow(**found._mapping) if found else None


def find_locked(connection: Connection, session_id: str) -> LoginSessionRow | None:
    """Return a session, and lock it until the end of the transaction."""
    found = connection.execute(
        select(login_sessions).where(login_sessions.c.id == session_id).with_for_update()
    ).one_or_none()
    return LoginSessionRow(**found._mapping) if found else None


def rotate(connection: Connection, row: LoginSessionRow, *, refresh_hash: str, nonce: str, now: int) -> None:
    """Make a new refresh token the valid one. With the nonce, it can be derived from the previous token."""
    change = {"refresh_hash": refresh_hash, "previous_hash": row.refresh_hash, "nonce": nonce, "last_used_at": now}
    connection.execute(update(login_sessions).where(login_sessions.c.id == row.id).values(change))


def end(
    connection: Connection, user_id: str, now: int, *, only: str | None = None, but: str | None = None
) -> list[str]:
    """End a user's sessions: all, `only` one, or all `but` one. Return the ids of those that had not ended yet."""
    mine = (login_sessions.c.user_id == user_id) & (login_sessions.c.ended_at.is_(None))
    if only is not None:
        mine &= login_sessions.c.id == only
    if but is not None:
        mine &= login_sessions.c.id != but
    change = update(login_sessions).where(mine).values(ended_at=now)
    return list(connection.execute(change.returning(login_sessions.c.id)).scalars())


def list_for_user(connection: Connection, user_id: str, now: int, idle_since: int) -> list[LoginSessionRow]:
    """List a user's living sessions, the one that was used last first."""
    query = (
        select(login_sessions)
        .where(_lives(user_id, now, idle_since))
        .order_by(login_sessions.c.last_used_at.desc(), login_sessions.c.id)
    )
    return [LoginSessionRow(**row._mapping) for row in connection.execute(query)]


def end_beyond(connection: Connection, user_id: str, now: int, idle_since: int, keep: int) -> list[str]:
    """End all but the `keep` last used sessions of a user. Return the ids of those that had not ended yet."""
    query = (
        select(login_sessions.c.id)
        .where(_lives(user_id, now, idle_since))
        .order_by(login_sessions.c.last_used_at.desc())
    )
    too_many = list(connection.execute(query.offset(keep)).scalars())
    if too_many:
        connection.execute(update(login_sessions).where(login_sessions.c.id.in_(too_many)).values(ended_at=now))
    return too_many


def ended_since(connection: Connection, since: int) -> list[tuple[str, str | None]]:
    """List what ended at or after a time: a user's id and a session's, or a disabled user's id and None."""
    ended = select(login_sessions.c.user_id, login_sessions.c.id).where(login_sessions.c.ended_at >= since)
    disabled = select(users.c.id, null()).where(users.c.disabled_at >= since)
    return [(user_id, session_id) for user_id, session_id in connection.execute(union_all(ended, disabled))]


def alive_among(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Return which of these sessions have not been ended and belong to an enabled user."""
    query = select(login_sessions.c.id).join(users, login_sessions.c.user_id == users.c.id)
    live = login_sessions.c.id.in_(ids) & login_sessions.c.ended_at.is_(None) & ~users.c.disabled
    return set(connection.execute(query.where(live)).scalars())


def prune(connection: Connection, before: int) -> int:
    """Remove the sessions that ended or expired before a time, and return their number."""
    # In two statements: each finds its rows along an index.
    old = (login_sessions.c.expires_at < before, login_sessions.c.ended_at < before)
    return sum(connection.execute(delete(login_sessions).where(each)).rowcount for each in old)


def _lives(user_id: str, now: int, idle_since: int) -> ColumnElement[bool]:
    mine = (login_sessions.c.user_id == user_id) & (login_sessions.c.ended_at.is_(None))
    return mine & (login_sessions.c.expires_at > now) & (login_sessions.c.last_used_at > idle_since)
