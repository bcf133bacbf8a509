"""Every connection on this node, and how many more are let in."""

import asyncio
import secrets
from collections import Counter
from contextlib import suppress
from typing import Protocol

from gateway.bus.base import Revoked
from gateway.clock import Clock
from gateway.limits import TokenBuckets
from gateway.settings import Settings
from gateway.transport.frames import Frame
from schemas.codes import Close

MAX_RECONNECT_SPREAD_MS = 30_000


class Connection(Protocol):
    """A connection, as it is counted."""

    user: str
    user_id: str
    address: str
    sid: str | None
    """The user's session that its token is of, which may be another after the token was refreshed."""

    def deliver(self, frame: Frame) -> None:
        """Take an event; never waits and never raises."""

    def hang_up(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close, once the message that is being handled has been answered."""

    def end(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close now; no further message is handled."""


class Connections:
    """Counts connections by user and address."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._all: set[Connection] = set()
        self._of_user: dict[str, set[Connection]] = {}
        self._of_address: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._rate = TokenBuckets(settings.connection_rate, max(1.0, settings.connection_rate))

    def admits(self, user_id: str, address: str) -> bool:
        """Tell whether one more is within the limits."""
        settings = self._settings
        return not (
            0 < settings.max_connections_per_user <= len(self._of_user.get(user_id, ()))
            or 0 < settings.max_connections_per_address <= self._of_address[address]
            or self._rate.take(address, self._clock.steady())
        )

    def add(self, connection: Connection) -> None:
        """Count a connection in."""
        self._all.add(connection)
        self._empty.clear()
        self._of_user.setdefault(connection.user_id, set()).add(connection)
        self._of_address[connection.address] += 1

    def remove(self, connection: Connection) -> None:
        """Count a connection out."""
        self._all.remove(connection)
        of_user = self._of_user[connection.user_id]
        of_user.remove(connection)
        if not of_user:
            del self._of_user[connection.user_id]
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]
        if not self._all:
            self._empty.set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._all)

    def deliver(self, frame: Frame, user_id: str | None = None) -> int:
        """Give an event to every connection, or to those of one user; returns how many that were."""
        to = self._all if user_id is None else self._of_user.get(user_id, set())
        for connection in tuple(to):
            connection.deliver(frame)
        return len(to)

    def sessions(self) -> set[tuple[str, str]]:
        """Give the sessions of all connections that are of one, each with its user's id."""
        return {(connection.user_id, connection.sid) for connection in self._all if connection.sid is not None}

    def revoke(self, revoked: Revoked) -> None:
        """Close the connections of sessions that have ended."""
        for connection in tuple(self._of_user.get(revoked.user_id, ())):
            if revoked.sessions is None or connection.sid in revoked.sessions:
                connection.end(Close.TOKEN_REVOKED)

    async def drain(self, seconds: float) -> None:
        """Send every client away, to come back each at its own moment, and wait until they are gone."""
        # So that those who come back at once are no more than a start can take: 500 in a second.
        spread = min(MAX_RECONNECT_SPREAD_MS, 1000 + 2 * len(self._all))
        for connection in tuple(self._all):
            connection.hang_up(Close.DRAINING, after_ms=secrets.randbelow(spread))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
