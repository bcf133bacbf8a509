"""Log-in, registration and change of password: everything that checks or hashes a password."""

import logging
import re
from collections import Counter
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from gateway.auth import groups
from gateway.auth.common_passwords import common_problem
from gateway.auth.passwords import Passwords, may_be_password
from gateway.auth.throttle import LoginThrottle
from gateway.bus.base import Bus, Revoked
from gateway.core.audit import Audit
from gateway.core.client_info import ClientInfo
from gateway.core.clock import Clock, milliseconds
from gateway.core.folding import FoldedLog
from gateway.store import login_sessions, users
from gateway.store.engine import Database
from gateway.store.failures import NameTaken
from gateway.store.users import UserRow
from handlers.errors import (
    AuthenticationFailed,
    Conflict,
    Forbidden,
    MessageError,
    NotFound,
    RateLimited,
    ValidationFailed,
)
from schemas.base import FieldError
from schemas.names import USER_NAME, normalized_user_name
from schemas.users import NewUser

logger = logging.getLogger(__name__)

WRONG = "wrong user name or password"


class PasswordLogin:
    """Checks user names and passwords, at a limited rate. An unknown user takes as long as a known one."""

    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        throttle: LoginThrottle,
        bus: Bus,
        audit: Audit,
        clock: Clock,
        default_scopes: frozenset[str],
        default_group: str,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._bus = bus
        self._audit = audit
        self._default_scopes = default_scopes
        self._default_group = default_group
        self._clock = clock
        self.limited: Counter[str] = Counter()
        """Attempts that came too early or too often: `log_in`, `password_change` or `register`."""
        self._log = FoldedLog(logger, logging.ERROR, same=1, now=clock.steady)

    async def authenticate(self, name: str, password: str, client: ClientInfo, *, event: str = "log_in") -> UserRow:
        """Return the user of this name and password, or raise `AuthenticationFailed`.

        Raises `RateLimited` for too many attempts, and `HashingBusy` for too many at once. The audit log names a
        failure by `event` with `_failed` behind it.
        """
        try:
            return await self._authenticate(name, password, client, event)
        except RateLimited:
            self.limited[event] += 1
            raise

    async def _authenticate(self, name: str, password: str, client: ClientInfo, event: str) -> UserRow:
        name = normalized_user_name(name)
        if not may_be_password(password):
            # It costs no hash, so it must not push the failures of other names out of memory: a flood of them is cheap.
            await self._throttle.check_address(client, "log-ins")
            self._note_failure(event, None, client, right=False)
            raise AuthenticationFailed(WRONG)
        attempt = await self._throttle.begin_attempt(name, client)
        try:
            user = await self._find(name)
            right, new_hash = await self._passwords.verify(password, user.password_hash if user else None)
        except MessageError:
            await self._throttle.undo(attempt)
            raise
        if user is None or not right or user.disabled:
            self._note_failure(event, user, client, right=right)
            raise AuthenticationFailed(WRONG)
        await self._throttle.succeed(attempt)
        return user if new_hash is None else await self._upgrade(user, new_hash)

    async def register(self, new: NewUser, client: ClientInfo) -> UserRow:
        """Add a user, or raise `Conflict`, or `ValidationFailed` for a password that is easy to guess.

        Raises `Forbidden` while the group of new users does not exist: without it, they would have no limit. A
        registration costs a hash, so it has a rate like a log-in.
        """
        _check_guessable("password", new.password, new.username)
        try:
            await self._throttle.check_registration(client)
        except RateLimited:
            self.limited["register"] += 1
            raise
        password_hash = await self._passwords.hash(new.password)
        try:
            user = await self._database.transact(partial(self._add, new, password_hash))
        except NotFound as error:
            self._log.log("registration is closed: %s", error)
            raise Forbidden("registration is closed for now; ask the operator to add you") from None
        except NameTaken:
            raise Conflict(f"the user name `{new.username}` is taken; choose another") from None
        self._audit.record("registered", client, user=user.name, user_id=user.id)
        return user

    def _add(self, new: NewUser, password_hash: str, connection: Connection) -> UserRow:
        user = users.add(
            connection,
            name=new.username,
            password_hash=password_hash,
            full_name=new.full_name,
            email=new.email,
            scopes=self._default_scopes,
            now=milliseconds(self._clock),
        )
        if self._default_group:
            groups.put_new(connection, [user.id], self._default_group)
        return user

    async def change_password(self, name: str, old: str, new: str, session: str | None, client: ClientInfo) -> None:
        """Change a user's password and end all sessions but this one.

        Raises `Forbidden` if the old one is wrong, and `ValidationFailed` if the new one is easy to guess. Raises the
        errors of `authenticate` for too many attempts.
        """
        _check_guessable("new_password", new, name)
        try:
            user = await self.authenticate(name, old, client, event="password_change")
        except AuthenticationFailed:
            raise Forbidden("the old password is not right") from None
        new_hash = await self._passwords.hash(new)
        ended = await self._database.transact(partial(self._replace, user, new_hash, session))
        self._audit.record("password_changed", client, user=user.name, user_id=user.id, ended=len(ended))
        if ended:
            await self._bus.revoke(Revoked(user.id, frozenset(ended)))

    def _replace(self, user: UserRow, new_hash: str, session: str | None, connection: Connection) -> list[str]:
        if not users.replace_password(connection, user.id, user.password_hash, new_hash):
            raise Conflict("the password has been changed by another request meanwhile")
        return login_sessions.end(connection, user.id, milliseconds(self._clock), but=session)

    async def _find(self, name: str) -> UserRow | None:
        if re.fullmatch(USER_NAME, name) is None:
            return None  # including names that a database does not take, such as NUL
        return await self._database.query(partial(users.by_name, name=name))

    async def _upgrade(self, user: UserRow, new_hash: str) -> UserRow:
        # Replace only the checked hash: the user may have set another password meanwhile.
        change = partial(users.replace_password, user_id=user.id, old_hash=user.password_hash, new_hash=new_hash)
        return replace(user, password_hash=new_hash) if await self._database.transact(change) else user

    def _note_failure(self, event: str, user: UserRow | None, client: ClientInfo, *, right: bool) -> None:
        # Do not log an unknown name: it may be a password in the wrong field.
        reason = "unknown_user" if user is None else "disabled" if right else "wrong_password"
        name, user_id = (None, None) if user is None else (user.name, user.id)
        self._audit.record(f"{event}_failed", client, user=name, user_id=user_id, reason=reason)


def _check_guessable(field: str, password: str, user_name: str) -> None:
    if problem := common_problem(password, user_name):
        raise ValidationFailed((FieldError(field=field, message=problem),))
