"""How often passwords may be tried.

Each address has a rate. Each user name has a rate and, after failures, a wait that doubles; whether there is such a
user makes no difference. Nobody is ever locked out for good, and nobody can lock the rightful user out of where that
user has been before: an address from which a name has logged in is counted apart from all others.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from gateway.config.settings import Settings
from gateway.core.client_info import Caller
from gateway.core.clock import Clock
from gateway.core.rate_limits import Backoff, TokenBuckets
from handlers.errors import RateLimited

HOUR_SECONDS = 3600

MAX_KNOWN = 10_000
"""Pairs of an address and a name that has logged in from there."""


@dataclass(frozen=True)
class Attempt:
    """A try at a user's password that has been counted."""

    key: str
    """What it was counted for."""
    name: str
    caller: Caller
    shared: bool = False
    """Whether it was counted for all nodes."""


class LoginThrottle(Protocol):
    """Counts log-ins."""

    async def take(self, caller: Caller, what: str) -> None:
        """Count something that costs a hash against the address alone, or raise `RateLimited`."""

    async def register(self, caller: Caller) -> None:
        """Count a registration against the address, or raise `RateLimited`."""

    async def begin(self, name: str, caller: Caller) -> Attempt:
        """Count a try at a user's password, or raise `RateLimited`."""

    async def succeed(self, attempt: Attempt) -> None:
        """Forget the failures, and know the name by this address from now on."""

    async def undo(self, attempt: Attempt) -> None:
        """Take a try back that came to no outcome."""


class Throttle:
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

    async def take(self, caller: Caller, what: str) -> None:
        """Count something that costs a hash against the address alone, or raise `RateLimited`."""
        raise_if(self._of_address.take(caller.network, self._clock.steady()), f"{what} from this address")

    async def register(self, caller: Caller) -> None:
        """Count a registration against the address, or raise `RateLimited`."""
        await self.take(caller, "registrations")
        raise_if(self._registrations.take(caller.network, self._clock.steady()), registrations(self._per_hour))

    async def begin(self, name: str, caller: Caller) -> Attempt:
        """Count a try at a user's password, or raise `RateLimited`."""
        await self.take(caller, "log-ins")
        now, key = self._clock.steady(), self._key(name, caller)
        # In this order: who comes too early takes nothing from the rate of those who come in time.
        raise_if(self._backoff.begin(key, now), "failed log-ins of this user")
        if wait := self._of_user.take(key, now):
            self._backoff.undo(key, now)
            raise_if(wait, "log-ins of this user")
        return Attempt(key, name, caller)

    async def succeed(self, attempt: Attempt) -> None:
        """Forget the failures, and know the name by this address from now on."""
        self._backoff.succeed(attempt.key)
        pair = _pair(attempt.name, attempt.caller)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    async def undo(self, attempt: Attempt) -> None:
        """Take a try back that came to no outcome."""
        self._backoff.undo(attempt.key, self._clock.steady())

    def _key(self, name: str, caller: Caller) -> str:
        pair = _pair(name, caller)
        return pair if pair in self._known else f"* {name}"


def _pair(name: str, caller: Caller) -> str:
    # The address first: it has no space, while a name that somebody made up may have anything.
    return f"{caller.network} {name}"


def registrations(per_hour: int) -> str:
    """Word what there are too many of."""
    return f"registrations from this address, the limit is {per_hour} an hour"


def raise_if(wait: float, what: str) -> None:
    """Raise `RateLimited` if there are seconds to wait."""
    if wait:
        raise RateLimited(what, int(wait * 1000) + 1)
