"""Limits the attempts at passwords.

Each address has a rate. Each user name has a rate and, after failures, a wait that doubles, even if there is no such
user. No user is ever locked out for good. An attacker cannot lock a user out of an address that the user has logged in
from: such an address has a count of its own.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from gateway.config.settings import Settings
from gateway.core.client_info import ClientInfo
from gateway.core.clock import Clock
from gateway.core.rate_limits import Backoff, TokenBuckets
from handlers.errors import RateLimited

HOUR_SECONDS = 3600

MAX_KNOWN = 10_000
"""The most pairs of an address and a name that has logged in from it."""


@dataclass(frozen=True)
class Attempt:
    """A counted attempt at a user's password."""

    key: str
    """The key of its count."""
    name: str
    client: ClientInfo
    shared: bool = False
    """Whether all nodes share its count."""


class LoginThrottle(Protocol):
    """Counts log-ins."""

    async def check_address(self, client: ClientInfo, what: str) -> None:
        """Count a request that costs a hash, for the address alone, or raise `RateLimited`."""

    async def check_registration(self, client: ClientInfo) -> None:
        """Count a registration for the address, or raise `RateLimited`."""

    async def begin_attempt(self, name: str, client: ClientInfo) -> Attempt:
        """Count an attempt at a user's password, or raise `RateLimited`."""

    async def succeed(self, attempt: Attempt) -> None:
        """Forget the failures, and remember the address of the name."""

    async def undo(self, attempt: Attempt) -> None:
        """Take back an attempt without an outcome."""


class LocalThrottle:
    """Counts log-ins, in the memory of this process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        per_user, per_address = settings.login_rate_per_user, settings.login_rate_per_address
        self._of_user = TokenBuckets(per_user / 60, per_user)
        self._of_address = TokenBuckets(per_address / 60, per_address)
        self._per_hour = settings.registration_rate_per_address
        self._registrations = TokenBuckets(self._per_hour / HOUR_SECONDS, self._per_hour)
        self._backoff = Backoff(settings.login_backoff_seconds)
        self._known: OrderedDict[str, None] = OrderedDict()

    async def check_address(self, client: ClientInfo, what: str) -> None:
        """Count a request that costs a hash, for the address alone, or raise `RateLimited`."""
        raise_if_limited(self._of_address.take(client.network, self._clock.steady()), f"{what} from this address")

    async def check_registration(self, client: ClientInfo) -> None:
        """Count a registration for the address, or raise `RateLimited`."""
        await self.check_address(client, "registrations")
        raise_if_limited(self._registrations.take(client.network, self._clock.steady()), registrations(self._per_hour))

    async def begin_attempt(self, name: str, client: ClientInfo) -> Attempt:
        """Count an attempt at a user's password, or raise `RateLimited`."""
        await self.check_address(client, "log-ins")
        now, key = self._clock.steady(), self._key(name, client)
        # In this order, because an attempt that comes too early must not use up the rate.
        raise_if_limited(self._backoff.begin_attempt(key, now), "failed log-ins of this user")
        if wait := self._of_user.take(key, now):
            self._backoff.undo(key, now)
            raise_if_limited(wait, "log-ins of this user")
        return Attempt(key, name, client)

    async def succeed(self, attempt: Attempt) -> None:
        """Forget the failures, and remember the address of the name."""
        self._backoff.succeed(attempt.key)
        pair = _pair(attempt.name, attempt.client)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def undo(self, attempt: Attempt) -> None:
        """Take back an attempt without an outcome."""
        self._backoff.undo(attempt.key, self._clock.steady())

    def _key(self, name: str, client: ClientInfo) -> str:
        pair = _pair(name, client)
        return pair if pair in self._known else f"* {name}"


def _pair(name: str, client: ClientInfo) -> str:
    # The address comes first, because it has no space. A made-up name may have any character.
    return f"{client.network} {name}"


def registrations(per_hour: int) -> str:
    """Return the text for too many registrations."""
    return f"registrations from this address, the limit is {per_hour} an hour"


def raise_if_limited(wait: float, what: str) -> None:
    """Raise `RateLimited` if there is a wait."""
    if wait:
        raise RateLimited(what, int(wait * 1000) + 1)
