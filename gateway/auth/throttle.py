"""How often passwords may be tried.

Each address has a rate. Each user name has a rate and, after failures, a wait that doubles; whether there is such a
user makes no difference. Nobody is ever locked out for good, and nobody can lock the rightful user out of where that
user has been before: an address from which a name has logged in is counted apart from all others.
"""

from collections import OrderedDict

from gateway.caller import Caller
from gateway.clock import Clock
from gateway.limits import Backoff, TokenBuckets
from gateway.settings import Settings
from handlers.errors import RateLimited

MAX_KNOWN = 10_000
"""Pairs of an address and a name that has logged in from there."""


class Throttle:
    """Counts log-ins, in the memory of this process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        per_user, per_address = settings.login_rate_per_user, settings.login_rate_per_address
        self._of_user = TokenBuckets(per_user / 60, per_user)
        self._of_address = TokenBuckets(per_address / 60, per_address)
        self._backoff = Backoff(settings.login_backoff_seconds)
        self._known: OrderedDict[str, None] = OrderedDict()

    def take(self, caller: Caller, what: str) -> None:
        """Count something that costs a hash against the address alone, or raise `RateLimited`."""
        _raise_if(self._of_address.take(caller.network, self._clock.steady()), f"{what} from this address")

    def begin(self, name: str, caller: Caller) -> str:
        """Count a try at a user's password and give its key, or raise `RateLimited`."""
        self.take(caller, "log-ins")
        now, key = self._clock.steady(), self._key(name, caller)
        # In this order: who comes too early takes nothing from the rate of those who come in time.
        _raise_if(self._backoff.begin(key, now), "failed log-ins of this user")
        if wait := self._of_user.take(key, now):
            self._backoff.undo(key, now)
            _raise_if(wait, "log-ins of this user")
        return key

    def succeed(self, key: str, name: str, caller: Caller) -> None:
        """Forget the failures, and know the name by this address from now on."""
        self._backoff.succeed(key)
        pair = _pair(name, caller)
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def undo(self, key: str) -> None:
        """Take a try back that came to no outcome."""
        self._backoff.undo(key, self._clock.steady())

    def _key(self, name: str, caller: Caller) -> str:
        pair = _pair(name, caller)
        return pair if pair in self._known else f"* {name}"


def _pair(name: str, caller: Caller) -> str:
    # The address first: it has no space, while a name that somebody made up may have anything.
    return f"{caller.network} {name}"


def _raise_if(wait: float, what: str) -> None:
    if wait:
        raise RateLimited(what, int(wait * 1000) + 1)
