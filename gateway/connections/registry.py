"""Every connection on this node, and how many more are let in."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from gateway.bus.base import BusEvent, Revoked
from gateway.cluster.rates import MakeBuckets, local_buckets
from gateway.cluster.roster import Roster
from gateway.config.settings import Settings
from gateway.connections.fanout import CHUNK, Fanout, Subscriber, deliver_frame
from gateway.core import costs, faults
from gateway.core.clock import Clock
from gateway.core.concurrency import ConcurrencyLimit
from gateway.core.faults import contained
from gateway.core.rate_limits import Allowance, TokenBuckets
from gateway.transport.frames import Frame
from gateway.transport.uvicorn.bounds import FRAMES_PER_SECOND
from handlers.errors import RateLimited
from schemas.codes import Close

MAX_RECONNECT_SPREAD_MS = 30_000
ABUSE_CONNECTIONS = 10
"""What a connection that ends with `rate_abuse` counts as: so its user comes back once a second, not ten times."""
PENDING_FRAMES_PER_SECOND = 100
"""Pings, pongs, fragments and binary messages of all connections of an address before the log-in, which need none."""
OF_PENDING = "of strangers"
MAX_DELAYED_REFUSALS = 64
"""Refusals for one address that are held back at a time."""
REFUSAL_DELAY_SECONDS = 1.0
"""No more than `Retry-After` says, in whole seconds."""
WRITE_BURST_SECONDS = 10
"""A user may write at once what may be written in so many seconds."""


class PendingConnection(Protocol):
    """A connection that may not have logged in yet."""

    def close_after_reply(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close, once the message that is being handled has been answered."""

    def abort(self) -> None:
        """End without waiting for anything."""


class Connection(Subscriber, PendingConnection, Protocol):
    """One connection of one user, as the registry, presence and the rooms see it."""

    user: str
    address: str
    sid: str | None
    """The user's session that its token is of, which may be another after the token was refreshed."""
    joined: dict[str, int]
    """The rooms that the connection has joined: each with the number of departures at its last known membership."""
    on_message: Callable[[], None] | None
    """Called when the next message comes, if set."""

    @property
    def last_message_at(self) -> float:
        """When the last message came, on the steady clock."""

    def close(self, close: Close, after_ms: int | None = None) -> None:
        """Say `bye` and close now; no further message is handled."""


class Connections:
    """Has every connection of this node, and lets no more in than may be, here and on other nodes."""

    def __init__(
        self, settings: Settings, clock: Clock, roster: Roster, make_buckets: MakeBuckets = local_buckets
    ) -> None:
        self._clock = clock
        self._roster = roster
        self._fanout = Fanout(self.for_user)
        self._draining = False
        self._spread = MAX_RECONNECT_SPREAD_MS
        self._of_user: dict[str, set[Connection]] = {}
        self._pending: set[PendingConnection] = set()
        self._delayed = ConcurrencyLimit(MAX_DELAYED_REFUSALS)
        self._empty = asyncio.Event()
        self._empty.set()

        def buckets(kind: str, rate: float, least_burst: float = 1) -> TokenBuckets:
            # A second's worth at once, and not less than `least_burst`.
            return make_buckets(kind, rate, max(1.0, rate, least_burst))

        burst = settings.message_burst
        self._rates_of_addresses = buckets("connections-from", settings.connection_rate)
        self._requests_of_addresses = buckets("requests-from", settings.request_rate)
        self._rates_of_users = buckets(
            "connections-of", settings.connection_rate_per_user, settings.max_connections_per_user
        )
        self._messages_of_users = buckets("messages-of", settings.message_rate_per_user, burst)
        self._messages_from_addresses = buckets("messages-from", settings.message_rate_per_address, burst)
        self._writes_of_users = buckets(
            "bytes-of", settings.write_bytes_per_user, settings.write_bytes_per_user * WRITE_BURST_SECONDS
        )
        self._frames_of_users = TokenBuckets(FRAMES_PER_SECOND, FRAMES_PER_SECOND)
        self._frames_of_pending = TokenBuckets(PENDING_FRAMES_PER_SECOND, PENDING_FRAMES_PER_SECOND)
        self._joins_of_users = buckets("joins-of", settings.join_rate_per_user)

    def check_connection_rate(self, address: str) -> None:
        """Note that somebody wants to connect, before anything is done for it; raises `RateLimited`."""
        if wait := self._rates_of_addresses.take(address, self._clock.steady()):
            raise RateLimited("connections from this address", int(wait * 1000) + 1)

    def check_request_rate(self, address: str) -> None:
        """Note a request of the HTTP API; raises `RateLimited`."""
        if wait := self._requests_of_addresses.take(address, self._clock.steady()):
            raise RateLimited("requests from this address", int(wait * 1000) + 1)

    def charge_request(self, user_id: str) -> None:
        """Take what a request of a user costs from what its messages may cost; raises `RateLimited`."""
        now = self._clock.steady()
        if wait := self._messages_of_users.get(user_id, now).take(now, costs.REQUEST):
            raise RateLimited("requests and messages of this user", int(wait * 1000) + 1)

    async def delay_refusal(self, address: str) -> bool:
        """Wait a second before a refusal for a rate, which slows down a client that repeats at once.

        A refusal takes nearly as long as a small answer. Beyond `MAX_DELAYED_REFUSALS` of an address, returns False at
        once.
        """
        with self._delayed.acquire(address) as may_wait:
            if may_wait:
                await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            return may_wait

    @contextmanager
    def pending(self, stranger: PendingConnection, address: str, frames: Allowance) -> Iterator[None]:
        """Have `drain` send a connection away that logs in within this context.

        All from an address share what they may send besides their one message.
        """
        bucket = self._frames_of_pending.get(address, asyncio.get_running_loop().time())
        frames.add(bucket, OF_PENDING)
        self._pending.add(stranger)
        self._empty.clear()
        if self._draining:
            stranger.close_after_reply(*self._sent_away())
        try:
            yield
        finally:
            frames.remove(OF_PENDING)
            self._pending.discard(stranger)
            self._look_if_empty()

    async def admit(self, connection: Connection) -> tuple[Close, int | None] | None:
        """Let a connection in and count it until `remove`.

        Otherwise tell why not, and after how many milliseconds it may come back.
        """
        if self._draining:
            return self._sent_away()
        if self._rates_of_users.take(connection.user_id, self._clock.steady()):
            return Close.OVERLOADED, None
        if not await self._roster.admit(connection.user, connection.address):
            return Close.OVERLOADED, None
        if self._draining:  # since a moment ago
            self._roster.release(connection.user, connection.address)
            return self._sent_away()
        self.add(connection)
        return None

    def share_limits(
        self, connection: Connection, messages: Allowance, joins: Allowance, writes: Allowance, frames: Allowance
    ) -> None:
        """Have a connection draw on what all of its user's, and all from its address, may do together."""
        now = self._clock.steady()
        messages.add(self._messages_of_users.get(connection.user_id, now), "of this user")
        messages.add(self._messages_from_addresses.get(connection.address, now), "from this address")
        joins.add(self._joins_of_users.get(connection.user_id, now), "of this user")
        of_user = self._frames_of_users.get(connection.user_id, asyncio.get_running_loop().time())
        frames.add(of_user, "of this user")
        writes.add(self._writes_of_users.get(connection.user_id, now), "of this user")

    def record_abuse(self, connection: Connection) -> None:
        """Have the user of a connection that ended with `rate_abuse` come back more slowly."""
        self._rates_of_users.get(connection.user_id, now := self._clock.steady()).spend(now, ABUSE_CONNECTIONS)

    def add(self, connection: Connection) -> None:
        """Have a connection that has been admitted."""
        self._fanout.add(connection)
        self._empty.clear()
        self._of_user.setdefault(connection.user_id, set()).add(connection)

    def remove(self, connection: Connection) -> None:
        """Count a connection out."""
        self._fanout.discard(connection)
        of_user = self._of_user[connection.user_id]
        of_user.remove(connection)
        if not of_user:
            del self._of_user[connection.user_id]
        self._roster.release(connection.user, connection.address)
        self._look_if_empty()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._fanout)

    async def remote_count(self) -> int:
        """Tell how many there are on other nodes, as far as this one knows."""
        return await self._roster.remote_connections()

    def deliver(self, frame: Frame, user_id: str | None = None) -> int:
        """Give an event to every connection, or to those of one user; returns how many that were."""
        if user_id is None:
            self._fanout.publish(BusEvent(frame))
            return len(self._fanout)
        to = self.for_user(user_id)
        for connection in to:
            deliver_frame(frame, connection)
        return len(to)

    def for_user(self, user_id: str) -> tuple[Connection, ...]:
        """Give the connections of a user."""
        return tuple(self._of_user.get(user_id, ()))

    def login_sessions(self) -> set[tuple[str, str]]:
        """Give the sessions of all connections that are of one, each with its user's id."""
        return {(connection.user_id, connection.sid) for connection in self._list() if connection.sid is not None}

    def external_user_ids(self) -> set[str]:
        """Give the ids of users who are connected without a session of ours: an outside service vouches for them."""
        return {connection.user_id for connection in self._list() if connection.sid is None}

    def close_revoked(self, revoked: Revoked) -> None:
        """Close the connections of sessions that have ended."""
        for connection in self.for_user(revoked.user_id):
            if revoked.sessions is None or connection.sid in revoked.sessions:
                _end(connection)

    async def drain(self, seconds: float) -> None:
        """Send every client away, to come back each at its own moment, and wait until they are gone.

        After so many seconds, whoever is still there is cut off.
        """
        self._draining = True
        # So that those who come back at once are no more than a start can take: 500 in a second.
        self._spread = min(MAX_RECONNECT_SPREAD_MS, 1000 + 2 * len(self._fanout))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for number, each in enumerate((*self._pending, *self._list()), 1):
                    with contained("connections"):
                        each.close_after_reply(*self._sent_away())
                    if not number % CHUNK:
                        await asyncio.sleep(0)
                await self._empty.wait()
        for left in (*self._pending, *self._list()):
            with contained("connections"):
                left.abort()  # does not read, or is at something that takes too long

    def _look_if_empty(self) -> None:
        if not self._fanout and not self._pending:
            self._empty.set()

    def _list(self) -> list[Connection]:
        return [connection for of_user in self._of_user.values() for connection in of_user]

    def _sent_away(self) -> tuple[Close, int]:
        """Why, and after how many milliseconds to come back."""
        return Close.DRAINING, secrets.randbelow(self._spread)


def _end(connection: Connection) -> None:
    try:
        connection.close(Close.TOKEN_REVOKED)
    except Exception as fault:  # it must not stay, and neither must the others
        faults.record("connections", fault)
        with contained("connections"):
            connection.abort()
