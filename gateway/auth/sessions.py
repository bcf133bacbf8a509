"""Sessions of users: what a log-in begins, and refresh tokens prolong, until it ends.

A refresh token is spent at its use and has one successor. If it comes a second time, either its owner did not get the
answer or somebody else has it too. Soon after the first time it is taken for the former, and answered with the same
successor; later for the latter, and the whole session ends (RFC 9700 §4.14.2).
"""

import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from sqlalchemy import Connection

from gateway.auth import refresh_tokens
from gateway.auth.refresh_tokens import RefreshToken
from gateway.auth.throttle import raise_if
from gateway.auth.tokens import Tokens
from gateway.bus.base import Bus, Revoked
from gateway.config.settings import Settings
from gateway.core.audit import Audit
from gateway.core.client_info import Caller
from gateway.core.clock import Clock, milliseconds
from gateway.core.rate_limits import TokenBuckets
from gateway.store import logins, users
from gateway.store.engine import Database
from gateway.store.logins import LoginRow
from gateway.store.users import UserRow
from handlers.errors import AuthenticationFailed, MessageError
from schemas.codes import Status

GRACE_MILLISECONDS = 10_000
"""How long a spent refresh token may come again because its answer was lost."""

DAY_MILLISECONDS = 24 * 3600 * 1000


class InvalidScope(MessageError):
    """Scopes that may not be given (RFC 6749 §5.2, `invalid_scope`)."""

    status = Status.FORBIDDEN


@dataclass(frozen=True)
class Grant:
    """What a client is given: an access token with its scopes and its life in seconds, and a refresh token."""

    access_token: str = field(repr=False)
    expires_in: int
    scopes: frozenset[str]
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class _Use:
    """What came of a refresh token, as the audit log calls it; without a successor, there is nothing to give."""

    event: Literal["refreshed", "refresh_repeated", "refresh_reused", "refresh_refused"]
    login: LoginRow
    scopes: frozenset[str] = frozenset()
    successor: RefreshToken | None = None


class Sessions:
    """Begins, prolongs, lists and ends the sessions of users. Whatever ends is told to every node."""

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

    async def begin(self, user: UserRow, asked: frozenset[str], caller: Caller) -> Grant:
        """Begin a session for a user whose password was right a moment ago.

        It allows what of `asked` the user may do, or all of that if nothing was asked for. Raises `InvalidScope` if
        that is nothing, and `AuthenticationFailed` if the user has been disabled or given another password meanwhile.
        """
        allowed = frozenset(user.scopes.split())
        scopes = allowed & asked if asked else allowed
        if not scopes:
            # The password was right: whoever tries passwords out like this leaves a line as well.
            self._audit.write("log_in_failed", caller, user=user.name, user_id=user.id, reason="invalid_scope")
            raise InvalidScope(
                "none of these scopes is allowed to this user; without `scope` the token has all that are"
            )
        token, now = refresh_tokens.new(), milliseconds(self._clock)
        login = LoginRow(
            id=new_id(),
            user_id=user.id,
            scopes=" ".join(sorted(scopes)),
            created_at=now,
            last_used_at=now,
            expires_at=now + self._life,
            family_hash=token.family_hash,
            refresh_hash=token.hash,
            address=caller.address,
            user_agent=caller.user_agent,
        )
        too_many = await self._database.transact(partial(self._add, user, login))
        for session in too_many:
            self._audit.write("session_ended", caller, user=user.name, user_id=user.id, session=session)
        await self._announce(user.id, too_many)
        self._audit.write("log_in", caller, user=user.name, user_id=user.id, session=login.id)
        return self._grant(login, scopes, token)

    async def refresh(self, text: str, asked: frozenset[str], caller: Caller) -> Grant:
        """Spend a refresh token for an access token and the next refresh token (RFC 6749 §6).

        The access token allows what the session does, or `asked` of it. Raises `InvalidScope` if that is more or
        nothing, and `RateLimited` for too many refreshes of this session, in which cases nothing is spent. Raises
        `AuthenticationFailed` for anything else that is wrong.
        """
        token = refresh_tokens.parse(text)
        login = await self._of(token)
        if token is None or login is None:
            raise _not_valid()
        raise_if(self._refreshes.take(login.id, self._clock.steady()), "refreshes of this session")
        use = await self._database.transact(partial(self._use, login.id, token, asked))
        self._audit.write(use.event, caller, user_id=login.user_id, session=login.id)
        if use.event == "refresh_reused":
            await self._announce(login.user_id, [login.id])
        if use.successor is None:
            raise _not_valid()
        return self._grant(use.login, use.scopes, use.successor)

    async def holder(self, text: str) -> tuple[LoginRow, UserRow] | None:
        """Tell whose refresh token this is, and of which session, if it holds; it is not spent."""
        token = refresh_tokens.parse(text)
        login = await self._of(token)
        if token is None or login is None or login.refresh_hash != token.hash or not self._lives(login):
            return None
        user = await self._database.look_up(partial(logins.user_of, login_id=login.id, user_id=login.user_id))
        return None if user is None or user.disabled else (login, user)

    async def of_user(self, user_id: str) -> list[LoginRow]:
        """List a user's sessions that live, the one used last first."""
        now = milliseconds(self._clock)
        query = partial(logins.of_user, user_id=user_id, now=now, idle_since=now - self._idle_life)
        return await self._database.look_up(query)

    async def end(
        self, user_id: str, caller: Caller, event: str, *, only: str | None = None, but: str | None = None
    ) -> list[str]:
        """End a user's sessions, `only` one or all `but` one, under this name in the audit log.

        Gives the ids of those that had not ended yet.
        """
        now = milliseconds(self._clock)
        ended = await self._database.transact(partial(logins.end, user_id=user_id, now=now, only=only, but=but))
        for session in ended:
            self._audit.write(event, caller, user_id=user_id, session=session)
        await self._announce(user_id, ended)
        return ended

    async def log_out(self, text: str, caller: Caller) -> None:
        """End the session of a refresh token or an access token (RFC 7009); of what is no such token, nothing."""
        login = await self._of(refresh_tokens.parse(text))
        if login is not None:
            await self.end(login.user_id, caller, "log_out", only=login.id)
            return
        try:
            claims = self._tokens.verify(text)
        except AuthenticationFailed:
            return
        await self.end(claims.sub, caller, "log_out", only=claims.sid)

    async def _of(self, token: RefreshToken | None) -> LoginRow | None:
        if token is None:
            return None
        return await self._database.look_up(partial(logins.of_family, family_hash=token.family_hash))

    async def _announce(self, user_id: str, ended: list[str]) -> None:
        if ended:
            await self._bus.revoke(Revoked(user_id, frozenset(ended)))

    def _grant(self, login: LoginRow, scopes: frozenset[str], token: RefreshToken) -> Grant:
        left = (login.expires_at - milliseconds(self._clock)) // 1000
        lifetime = max(1, min(self._tokens.lifetime_seconds, left, self._idle_life // 1000))
        access_token = self._tokens.issue(login.user_id, scopes, session_id=login.id, lifetime_seconds=lifetime)
        return Grant(access_token, lifetime, scopes, token.text)

    def _lives(self, login: LoginRow) -> bool:
        now = milliseconds(self._clock)
        return login.ended_at is None and now < login.expires_at and now - login.last_used_at < self._idle_life

    def _add(self, user: UserRow, login: LoginRow, connection: Connection) -> list[str]:
        """Store a login, and end those that are too many; gives the ids of these."""
        # Whoever changes the password or disables the user waits for this lock and ends the login then, or has been
        # here before and is seen now.
        found = users.locked(connection, user.id)
        if found is None or found.disabled or found.password_hash != user.password_hash:
            raise AuthenticationFailed("wrong user name or password")
        logins.add(connection, login)
        if not self._most:
            return []
        now = login.created_at
        return logins.end_beyond(connection, user.id, now, now - self._idle_life, self._most)

    def _use(self, login_id: str, token: RefreshToken, asked: frozenset[str], connection: Connection) -> _Use:
        # With the row locked, of many uses at once the first spends the token and the others find it spent.
        login = logins.locked(connection, login_id)
        user = None if login is None else logins.user_of(connection, login.id, login.user_id)
        if login is None:
            raise _not_valid()
        if user is None or user.disabled or not self._lives(login):
            return _Use("refresh_refused", login)
        now = milliseconds(self._clock)
        if token.hash == login.refresh_hash:
            scopes, nonce = _narrowed(login, user, asked), refresh_tokens.new_nonce()
            successor = token.successor(nonce)
            logins.rotate(connection, login, refresh_hash=successor.hash, nonce=nonce, now=now)
            return _Use("refreshed", login, scopes, successor)
        lost = token.hash == login.previous_hash and now - login.last_used_at <= GRACE_MILLISECONDS
        if lost and login.nonce is not None:
            return _Use("refresh_repeated", login, _narrowed(login, user, asked), token.successor(login.nonce))
        logins.end(connection, login.user_id, now, only=login.id)
        return _Use("refresh_reused", login)


def new_id() -> str:
    """Make the id of a session: the `sid` of its access tokens, which is no secret."""
    return secrets.token_urlsafe(16)


def _narrowed(login: LoginRow, user: UserRow, asked: frozenset[str]) -> frozenset[str]:
    granted = frozenset(login.scopes.split())
    if not asked <= granted:
        raise InvalidScope("expected none but the scopes that the log-in was given; log in again for others")
    # What a user may do can shrink while a session lives.
    scopes = (asked or granted) & frozenset(user.scopes.split())
    if not scopes:
        raise InvalidScope("none of these scopes is allowed any more")
    return scopes


def _not_valid() -> AuthenticationFailed:
    return AuthenticationFailed("the refresh token is not valid; log in again")
