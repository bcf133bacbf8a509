"""Logging in and registering."""

from gateway.auth.passwords import Passwords
from gateway.clock import Clock, milliseconds
from gateway.limits import TokenBuckets
from gateway.settings import Settings
from gateway.store import users
from gateway.store.engine import Database
from gateway.store.users import UserRow
from handlers.errors import AuthenticationFailed, RateLimited
from schemas.users import NewUser


class Logins:
    """Checks user names and passwords, at a bounded rate and in the same time whether a user exists or not."""

    def __init__(self, settings: Settings, database: Database, passwords: Passwords, clock: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock
        per_user, per_address = settings.login_rate_per_user, settings.login_rate_per_address
        self._of_user = TokenBuckets(per_user / 60, per_user)
        self._of_address = TokenBuckets(per_address / 60, per_address)

    async def check(self, name: str, password: str, address: str) -> UserRow:
        """Give the user of this name and password, or raise `AuthenticationFailed`.

        Raises `RateLimited` after too many of either, and `HashingBusy` when all are trying at once.
        """
        # Phones like to begin a name with a capital; names have none.
        name = name.lower()
        self._count(self._of_address, address, "log-ins from this address")
        self._count(self._of_user, name, "log-ins of this user")
        async with self._database.read() as connection:
            user = await users.by_name(connection, name)
        right, new_hash = await self._passwords.verify(password, user.password_hash if user else None)
        if user is None or not right or user.disabled:
            raise AuthenticationFailed("wrong user name or password")
        if new_hash is not None:
            async with self._database.write() as connection:
                await users.set_password(connection, user.name, new_hash)
        return user

    async def register(self, new: NewUser, address: str) -> UserRow:
        """Add a user, or raise `Conflict`; each costs a hash, so it is bounded as log-ins are."""
        self._count(self._of_address, address, "registrations from this address")
        password_hash = await self._passwords.hash(new.password)
        async with self._database.write() as connection:
            return await users.add(
                connection,
                name=new.username,
                password_hash=password_hash,
                full_name=new.full_name,
                email=new.email,
                now=milliseconds(self._clock),
            )

    def _count(self, buckets: TokenBuckets, key: str, what: str) -> None:
        if wait := buckets.take(key, self._clock.steady()):
            raise RateLimited(what, int(wait * 1000) + 1)
