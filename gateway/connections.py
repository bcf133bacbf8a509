"""Every connection on this node, and how many more are let in."""

import asyncio
import secrets
from collections import Counter
from contextlib import suppress
from typing import Protocol

from gateway.bus.base import BusEvent, Revoked
from gateway.clock import Clock
from gateway.limits import Allowance, TokenBuckets
from gateway.rooms.audience import CHUNK, Audience, Hearer
from gateway.settings import Settings
from gateway.transport.frames import Frame
from handlers.errors import RateLimited
from schemas.codes import Close

MAX_RECONNECT_SPREAD_MS = 30_000


class Connection(Hearer, Protocol):
    """A connection, as it is counted."""

    user: str
    address: str
    sid: str | None
    """The user's session that its token is of, which may be another after the token was refreshed."""

    def hang_up(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close, once the message that is being handled has been answered."""

    def end(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close now; no further message is handled."""

    def cut_off(self) -> None:
        """End without waiting for anything."""


class Connections:
    """Counts connections by user and address."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._everyone = Audience()
        self._draining = False
        self._spread = MAX_RECONNECT_SPREAD_MS
        self._of_user: dict[str, set[Connection]] = {}
        self._of_address: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._rates_of_addresses = _buckets(settings.connection_rate)
        self._rates_of_users = _buckets(settings.connection_rate_per_user, settings.max_connections_per_user)
        self._messages_of_users = _buckets(settings.message_rate_per_user, settings.message_burst)
        self._messages_from_addresses = _buckets(settings.message_rate_per_address, settings.message_burst)
        self._joins_of_users = _buckets(settings.join_rate_per_user)

    def count_attempt(self, address: str) -> None:
        """Note that somebody wants to connect, before anything is done for it; raises `RateLimited`."""
        if wait := self._rates_of_addresses.take(address, self._clock.steady()):
            raise RateLimited("connections from this address", int(wait * 1000) + 1)

    def refusal(self, user_id: str, address: str) -> tuple[Close, int | None] | None:
        """Tell why one more is not let in, and after how many milliseconds it may come back, if it is not."""
        if self._draining:
            return Close.DRAINING, self._when_to_come_back()
        settings = self._settings
        if (
            0 < settings.max_connections_per_user <= len(self._of_user.get(user_id, ()))
            or 0 < settings.max_connections_per_address <= self._of_address[address]
            or self._rates_of_users.take(user_id, self._clock.steady())
        ):
            return Close.OVERLOADED, None
        return None

    def share_limits(self, connection: Connection, messages: Allowance, joins: Allowance) -> None:
        """Have a connection draw on what all of its user's, and all from its address, may do together."""
        now = self._clock.steady()
        messages.limit(self._messages_of_users.of(connection.user_id, now), "of this user")
        messages.limit(self._messages_from_addresses.of(connection.address, now), "from this address")
        joins.limit(self._joins_of_users.of(connection.user_id, now), "of this user")

    def add(self, connection: Connection) -> None:
        """Count a connection in."""
        self._everyone.add(connection)
        self._empty.clear()
        self._of_user.setdefault(connection.user_id, set()).add(connection)
        self._of_address[connection.address] += 1

    def remove(self, connection: Connection) -> None:
        """Count a connection out."""
        self._everyone.drop(connection)
        of_user = self._of_user[connection.user_id]
        of_user.remove(connection)
        if not of_user:
            del self._of_user[connection.user_id]
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]
        if not self._everyone:
            self._empty.set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._everyone)

    def deliver(self, frame: Frame, user_id: str | None = None) -> int:
        """Give an event to every connection, or to those of one user; returns how many that were."""
        if user_id is None:
            self._everyone.give(BusEvent(frame))
            return len(self._everyone)
        to = self.of_user(user_id)
        for connection in to:
            connection.deliver(frame)
        return len(to)

    def of_user(self, user_id: str) -> tuple[Connection, ...]:
        """Give the connections of a user."""
        return tuple(self._of_user.get(user_id, ()))

    def sessions(self) -> set[tuple[str, str]]:
        """Give the sessions of all connections that are of one, each with its user's id."""
        return {(connection.user_id, connection.sid) for connection in self._list() if connection.sid is not None}

    def outsiders(self) -> set[str]:
        """Give the ids of users who are connected without a session of ours: an outside service vouches for them."""
        return {connection.user_id for connection in self._list() if connection.sid is None}

    def revoke(self, revoked: Revoked) -> None:
        """Close the connections of sessions that have ended."""
        for connection in self.of_user(revoked.user_id):
            if revoked.sessions is None or connection.sid in revoked.sessions:
                connection.end(Close.TOKEN_REVOKED)

    async def drain(self, seconds: float) -> None:
        """Send every client away, to come back each at its own moment, and wait until they are gone.

        After so many seconds, whoever is still there is cut off.
        """
        self._draining = True
        # So that those who come back at once are no more than a start can take: 500 in a second.
        self._spread = min(MAX_RECONNECT_SPREAD_MS, 1000 + 2 * len(self._everyone))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for number, connection in enumerate(self._list(), 1):
                    connection.hang_up(Close.DRAINING, self._when_to_come_back())
                    if not number % CHUNK:
                        await asyncio.sleep(0)
                await self._empty.wait()
        for connection in self._list():
            connection.cut_off()  # does not read, or is at something that takes too long

    def _list(self) -> list[Connection]:
        return [connection for of_user in self._of_user.values() for connection in of_user]

    def _when_to_come_back(self) -> int:
        return secrets.randbelow(self._spread)


def _buckets(rate: float, least_burst: float = 1) -> TokenBuckets:
    """Make buckets that let a second's worth through at once, and not less than `least_burst`."""
    return TokenBuckets(rate, max(1.0, rate, least_burst))
