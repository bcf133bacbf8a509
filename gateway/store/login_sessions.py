"""Login sessions: each begins with a log-in, and its refresh tokens extend it until it ends.

The functions are for `Database.query` and `Database.transact`, the statements for `Database.fetch` and
`Database.run_script`. Times are milliseconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from sqlalchemy import ColumnElement, Connection, Text, bindparam, delete, insert, null, select, union_all, update

from gateway.store.prepared import Rows, Statement, items
from gateway.store.tables import login_sessions, service_keys, users
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


BY_FAMILY = Statement(lambda _: select(login_sessions).where(login_sessions.c.family_hash == bindparam("family")))
"""Finds the session of a refresh token."""

LOCKED = Statement(
    lambda _: select(login_sessions).where(login_sessions.c.id == bindparam("session")).with_for_update()
)
"""Finds a session, and locks it until the end of the transaction."""

USER_OF = Statement(
    lambda _: (
        select(*(users.c[field.name] for field in fields(UserRow)))
        .join(login_sessions, login_sessions.c.user_id == users.c.id)
        .where(login_sessions.c.id == bindparam("session"), login_sessions.c.ended_at.is_(None))
    )
)
"""Finds the user of a session that has not been ended."""

ROTATE = Statement(
    lambda _: (
        update(login_sessions)
        .where(login_sessions.c.id == bindparam("session"))
        .values(
            refresh_hash=bindparam("successor"),
            previous_hash=bindparam("spent"),
            nonce=bindparam("number"),
            last_used_at=bindparam("now"),
        )
    )
)
"""Makes a new refresh token the valid one. With the nonce, it can be derived from the previous token."""

END = Statement(
    lambda _: (
        update(login_sessions)
        .where(login_sessions.c.id == bindparam("session"), login_sessions.c.ended_at.is_(None))
        .values(ended_at=bindparam("now"))
    )
)
"""Ends a session."""

RIGHTS_BY_SESSION = Statement(
    lambda database: (
        select(login_sessions.c.id.label("session_id"), *RIGHTS)
        .join(users, login_sessions.c.user_id == users.c.id)
        .where(login_sessions.c.id.in_(select(*items(database, Text()))), login_sessions.c.ended_at.is_(None))
    )
)
"""Reads the rights of users, by their sessions. Sessions that have ended, or do not exist, are left out."""


def from_rows(rows: Rows) -> LoginSessionRow | None:
    """Return the session that a prepared statement has found, or None."""
    return LoginSessionRow(**rows[0]) if rows else None


def add(connection: Connection, row: LoginSessionRow) -> None:
    """Add a session."""
    connection.execute(insert(login_sessions).values(vars(row)))


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


def ended_since(connection: Connection, since: int, now: int) -> list[tuple[str, str | None]]:
    """List what ended at or after a time: a user's id and a session's, or a disabled user's id and None.

    The session of a service's key ends with the key's overlap, too.
    """
    ended = select(login_sessions.c.user_id, login_sessions.c.id).where(login_sessions.c.ended_at >= since)
    disabled = select(users.c.id, null()).where(users.c.disabled_at >= since)
    overlap_ended = service_keys.c.expires_at.is_not(None) & service_keys.c.expires_at.between(since, now)
    expired = select(service_keys.c.user_id, service_keys.c.id).where(overlap_ended)
    return [(user_id, session_id) for user_id, session_id in connection.execute(union_all(ended, disabled, expired))]


def alive_among(connection: Connection, ids: Sequence[str], now: int) -> set[str]:
    """Return which of these sessions have not ended and belong to an enabled user."""
    query = select(login_sessions.c.id).join(users, login_sessions.c.user_id == users.c.id)
    live = login_sessions.c.id.in_(ids) & login_sessions.c.ended_at.is_(None) & ~users.c.disabled
    alive = set(connection.execute(query.where(live)).scalars())
    expired = select(service_keys.c.id).where(service_keys.c.id.in_(ids), service_keys.c.expires_at <= now)
    return alive.difference(connection.execute(expired).scalars())


def prune(connection: Connection, before: int) -> int:
    """Remove the sessions that ended or expired before a time, and return their number."""
    # In two statements: each finds its rows along an index.
    old = (login_sessions.c.expires_at < before, login_sessions.c.ended_at < before)
    return sum(connection.execute(delete(login_sessions).where(each)).rowcount for each in old)


def _lives(user_id: str, now: int, idle_since: int) -> ColumnElement[bool]:
    mine = (login_sessions.c.user_id == user_id) & (login_sessions.c.ended_at.is_(None))
    return mine & (login_sessions.c.expires_at > now) & (login_sessions.c.last_used_at > idle_since)
