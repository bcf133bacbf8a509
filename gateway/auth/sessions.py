"""Sessions of users: a log-in begins one, and refresh tokens prolong it.

A use spends a refresh token and gives it one successor. A second use has one of two causes: the client lost the
answer, or an attacker has the token too. Soon after the first use, the gateway assumes the former and returns the same
successor. Later, it assumes the latter and ends the whole session (RFC 9700 §4.14.2).
"""

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from sqlalchemy import Connection

from gateway.auth import refresh_tokens
from gateway.auth.refresh_tokens import RefreshToken
from gateway.auth.room_rights import RoomRights, rights_of
from gateway.auth.throttle import raise_if_limited
from gateway.auth.tokens import Tokens
from gateway.bus.base import Bus, Revoked
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.client_info import ClientInfo
from gateway.core.clock import Clock, milliseconds
from gateway.core.rate_limits import TokenBuckets
from gateway.store import login_sessions, users
from gateway.store.engine import Database
from gateway.store.login_sessions import LoginSessionRow
from gateway.store.prepared import Script
from gateway.store.users import UserRow
from handlers.errors import AuthenticationFailed, MessageError
from schemas.codes import Status

GRACE_MILLISECONDS = 10_000
"""Milliseconds in which a spent refresh token may come again after a lost answer."""

DAY_MILLISECONDS = 24 * 3600 * 1000


class InvalidScope(MessageError):
    """Scopes that the user cannot get (RFC 6749 §5.2, `invalid_scope`)."""

    status = Status.FORBIDDEN


@dataclass(frozen=True)
class Grant:
    """The tokens of a client: an access token with its scopes and seconds of life, and a refresh token."""

    access_token: str = field(repr=False)
    expires_in: int
    scopes: frozenset[str]
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class _Use:
    """The outcome of a refresh token, as the audit log names it. Without a successor, the refresh failed."""

    event: Literal["refreshed", "refresh_repeated", "refresh_reused", "refresh_refused"]
    row: LoginSessionRow
    scopes: frozenset[str] = frozenset()
    rooms: RoomRights | None = None
    successor: RefreshToken | None = None


class LoginSessions:
    """Begins, prolongs, lists and ends the sessions of users. Every node learns of an end."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        tokens: Tokens,
        bus: Bus,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._life = round(settings.session_days * DAY_MILLISECONDS)
        self._idle_life = round(settings.session_idle_days * DAY_MILLISECONDS)
        self._most = settings.max_sessions_per_user
        per_session = settings.refresh_rate_per_session
        self._refreshes = TokenBuckets(per_session / 60, per_session)
        self._database = database
        self._tokens = tokens
        self._bus = bus
        self._audit = audit
        self._clock = clock

    async def create(self, user: UserRow, requested: frozenset[str], client: ClientInfo) -> Grant:
        """Begin a session for a user that has just given the right password.

        It allows the scopes of `requested` that the user has, or all of the user's without `requested`. Raises
        `InvalidScope` if none is left. Raises `AuthenticationFailed` if the user was disabled or got another password
        meanwhile.
        """
        allowed = frozenset(user.scopes.split())
        scopes = allowed & requested if requested else allowed
        if not scopes:
            # The password was right, so an attacker that tests passwords this way must leave a line as well.
            self._audit.record("log_in_failed", client, user=user.name, user_id=user.id, reason="invalid_scope")
            raise InvalidScope(
                "none of these scopes is allowed to this user; without `scope` the token has all that are"
            )
        token, now = refresh_tokens.new(), milliseconds(self._clock)
        row = LoginSessionRow(
            id=new_session_id(),
            user_id=user.id,
            scopes=" ".join(sorted(scopes)),
            created_at=now,
            last_used_at=now,
            expires_at=now + self._life,
            family_hash=token.family_hash,
            refresh_hash=token.hash,
            address=client.address,
            user_agent=client.user_agent,
        )
        too_many = await self._database.transact(partial(self._add, user, row))
        for session in too_many:
            self._audit.record("session_ended", client, user=user.name, user_id=user.id, session=session)
        await self._announce(user.id, too_many)
        self._audit.record("log_in", client, user=user.name, user_id=user.id, session=row.id)
        return self._grant(row, scopes, rights_of(user.room_rights), token)

    async def refresh(self, text: str, requested: frozenset[str], client: ClientInfo) -> Grant:
        """Spend a refresh token for an access token and the next refresh token (RFC 6749 §6).

        The access token has the session's scopes, or those of `requested`. Raises `InvalidScope` if `requested` has
        more, or if none is left, and `RateLimited` for too many refreshes of this session. Neither spends the token.
        Raises `AuthenticationFailed` for any other fault.
        """
        token = refresh_tokens.parse(text)
        row = await self._find(token)
        if token is None or row is None:
            raise _not_valid()
        raise_if_limited(self._refreshes.take(row.id, self._clock.steady()), "refreshes of this session")
        use = await self._database.run_script(self._use(row.id, token, requested))
        if isinstance(use, MessageError):
            raise use
        self._audit.record(use.event, client, user_id=row.user_id, session=row.id)
        if use.event == "refresh_reused":
            await self._announce(row.user_id, [row.id])
        if use.successor is None:
            raise _not_valid()
        return self._grant(use.row, use.scopes, use.rooms, use.successor)

    async def find_by_refresh_token(self, text: str) -> tuple[LoginSessionRow, UserRow] | None:
        """Return the session and the user of a good refresh token, or None. Do not spend it."""
        token = refresh_tokens.parse(text)
        row = await self._find(token)
        if token is None or row is None or row.refresh_hash != token.hash or not self._is_alive(row):
            return None
        user = users.from_rows(await self._database.fetch(login_sessions.USER_OF, session=row.id))
        return None if user is None or user.disabled else (row, user)

    async def list_for_user(self, user_id: str) -> list[LoginSessionRow]:
        """Return a user's live sessions, the last used first."""
        now = milliseconds(self._clock)
        query = partial(login_sessions.list_for_user, user_id=user_id, now=now, idle_since=now - self._idle_life)
        return await self._database.query(query)

    async def end(
        self, user_id: str, client: ClientInfo, event: str, *, only: str | None = None, but: str | None = None
    ) -> list[str]:
        """End a user's sessions, `only` one or all `but` one, under this name in the audit log.

        Return the ids of those that had not ended yet.
        """
        now = milliseconds(self._clock)
        ended = await self._database.transact(partial(login_sessions.end, user_id=user_id, now=now, only=only, but=but))
        for session in ended:
            self._audit.record(event, client, user_id=user_id, session=session)
        await self._announce(user_id, ended)
        return ended

    async def log_out(self, text: str, client: ClientInfo) -> None:
        """End the session of a refresh token or an access token (RFC 7009). Ignore any other text."""
        row = await self._find(refresh_tokens.parse(text))
        if row is not None:
            await self.end(row.user_id, client, "log_out", only=row.id)
            return
        try:
            claims = self._tokens.verify(text)
        except AuthenticationFailed:
            return
        await self.end(claims.sub, client, "log_out", only=claims.sid)

    async def _find(self, token: RefreshToken | None) -> LoginSessionRow | None:
        if token is None:
            return None
        return login_sessions.from_rows(await self._database.fetch(login_sessions.BY_FAMILY, family=token.family_hash))

    async def _announce(self, user_id: str, ended: list[str]) -> None:
        if ended:
            await self._bus.revoke(Revoked(user_id, frozenset(ended)))

    def _grant(
        self, row: LoginSessionRow, scopes: frozenset[str], rooms: RoomRights | None, token: RefreshToken
    ) -> Grant:
        left = (row.expires_at - milliseconds(self._clock)) // 1000
        lifetime = max(1, min(self._tokens.lifetime_seconds, left, self._idle_life // 1000))
        access_token = self._tokens.issue(
            row.user_id, scopes, session_id=row.id, lifetime_seconds=lifetime, rooms=rooms
        )
        return Grant(access_token, lifetime, scopes, token.text)

    def _is_alive(self, row: LoginSessionRow) -> bool:
        now = milliseconds(self._clock)
        return row.ended_at is None and now < row.expires_at and now - row.last_used_at < self._idle_life

    def _add(self, user: UserRow, row: LoginSessionRow, connection: Connection) -> list[str]:
        """Store a session, end those over the limit, and return the ids of the ended ones."""
        # A change of the password, or of the user's state, waits for this lock and then ends the session. If it came
        # first, this transaction sees it.
        found = users.find_locked(connection, user.id)
        if found is None or found.disabled or found.password_hash != user.password_hash:
            raise AuthenticationFailed("wrong user name or password")
        login_sessions.add(connection, row)
        if not self._most:
            return []
        now = row.created_at
        return login_sessions.end_beyond(connection, user.id, now, now - self._idle_life, self._most)

    def _use(self, session: str, token: RefreshToken, requested: frozenset[str]) -> Script[_Use | MessageError]:
        """Spend a token. Errors are returned: one that is raised would cost a connection to PostgreSQL."""
        # The lock of the row lets the first of many simultaneous uses spend the token. The others find it spent.
        row = login_sessions.from_rows((yield login_sessions.LOCKED, {"session": session}))
        if row is None:
            return _not_valid()
        user = users.from_rows((yield login_sessions.USER_OF, {"session": session}))
        if user is None or user.disabled or not self._is_alive(row):
            return _Use("refresh_refused", row)
        now = milliseconds(self._clock)
        is_new = token.hash == row.refresh_hash
        nonce = refresh_tokens.new_nonce() if is_new else _nonce_of_repeat(row, token, now)
        if nonce is None:
            yield login_sessions.END, {"session": session, "now": now}
            return _Use("refresh_reused", row)
        try:
            scopes = _narrowed(row, user, requested)
        except InvalidScope as error:
            return error
        successor, rooms = token.successor(nonce), rights_of(user.room_rights)
        if not is_new:
            return _Use("refresh_repeated", row, scopes, rooms, successor)
        rotated = {"successor": successor.hash, "spent": row.refresh_hash, "number": nonce, "now": now}
        yield login_sessions.ROTATE, {"session": session, **rotated}
        return _Use("refreshed", row, scopes, rooms, successor)


def _nonce_of_repeat(row: LoginSessionRow, token: RefreshToken, now: int) -> str | None:
    """Return the nonce of the last use if this token may repeat it after a lost answer, or None."""
    lost = token.hash == row.previous_hash and now - row.last_used_at <= GRACE_MILLISECONDS
    return row.nonce if lost else None


def new_session_id() -> str:
    """Return the id of a new session: the `sid` of its access tokens, which is no secret."""
    return secrets.token_urlsafe(16)


def _narrowed(row: LoginSessionRow, user: UserRow, requested: frozenset[str]) -> frozenset[str]:
    granted = frozenset(row.scopes.split())
    if not requested <= granted:
        raise InvalidScope("expected none but the scopes that the log-in was given; log in again for others")
    # A user's scopes can shrink while a session lives.
    scopes = (requested or granted) & frozenset(user.scopes.split())
    if not scopes:
        raise InvalidScope("none of these scopes is allowed any more")
    return scopes


def _not_valid() -> AuthenticationFailed:
    return AuthenticationFailed("the refresh token is not valid; log in again")
