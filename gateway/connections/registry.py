"""Holds every connection of this node, and decides whether to admit another one."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from gateway.auth.room_rights import RoomRights
from gateway.bus.base import Revoked, ToAll
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
from gateway.transport.newcomers import RETURN_SHARE, Newcomers
from gateway.transport.uvicorn.bounds import FRAMES_PER_SECOND
from handlers.errors import RateLimited
from schemas.codes import Close
from schemas.services import is_service

MAX_RECONNECT_SPREAD_MS = 60_000
LEAST_RECONNECT_SPREAD_MS = 1000
MOVE_SHARE = 0.5
"""The share of a node's time that clients may need that come one after the other: each is away for a moment only."""
ABUSE_CONNECTIONS = 10
"""How many connections one that ends with `rate_abuse` counts for: its user returns once a second, not ten times."""
MAX_CONNECTIONS_PER_SERVICE = 1000
"""The same as `GATEWAY_MAX_CONNECTIONS_PER_USER` for the workers of a service: a fleet of them has one key."""
PENDING_FRAMES_PER_SECOND = 100
"""Pings, pongs, fragments and binary messages of an address' connections before their log-in, which needs none."""
OF_PENDING = "of pending connections"
MAX_DELAYED_REFUSALS = 64
"""Refusals that may be delayed at the same time for one address."""
REFUSAL_DELAY_SECONDS = 1.0
"""At most what `Retry-After` says, in whole seconds."""
WRITE_BURST_SECONDS = 10
"""A user may write at once the bytes of this many seconds."""


class PendingConnection(Protocol):
    """A connection that may not have logged in yet."""

    def close_after_reply(self, close: Close, after_ms: int | None = None) -> None:
        """Send `bye` and close, after the reply to the message that is being handled."""

    def abort(self) -> None:
        """Cut the connection without waiting."""


class Connection(Subscriber, PendingConnection, Protocol):
    """One connection of one user, as the registry, presence and the rooms see it."""

    connection: str
    """Its id, which no other connection has."""
    user: str
    address: str
    scopes: frozenset[str]
    expires_at: float
    """When its credential ends, in seconds since 1970; infinite for one that lasts."""
    sid: str | None
    """The id of the session of its token. A new token may change it."""
    joined: dict[str, int]
    """The rooms that the connection has joined: each with the number of departures at its last known membership."""
    on_message: Callable[[], None] | None
    """A function to call when the next message arrives, if set."""

    @property
    def opened_at(self) -> float:
        """Return when it was opened, on the steady clock."""

    @property
    def last_message_at(self) -> float:
        """Return when the last message arrived, on the steady clock."""

    def close(self, close: Close, after_ms: int | None = None) -> None:
        """Send `bye` and close now. No further message is handled."""

    def limit_rooms(self, rights: RoomRights) -> None:
        """Allow no more in rooms than these rights, and stop hearing the rooms that they do not allow."""


class Connections:
    """Holds every connection of this node. The limits for a new one count this node and the others."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        roster: Roster,
        newcomers: Newcomers,
        make_buckets: MakeBuckets = local_buckets,
    ) -> None:
        self._clock = clock
        self._roster = roster
        self._newcomers = newcomers
        self._fanout = Fanout(self.for_user)
        self._draining = False
        self._spread = MAX_RECONNECT_SPREAD_MS
        self._of_user: dict[str, set[Connection]] = {}
        # The ids of services that have connected: few, and a look at all connections twice a second would be dear.
        self._services: set[str] = set()
        self._pending: dict[PendingConnection, str] = {}  # each with its address
        self._delayed = ConcurrencyLimit(MAX_DELAYED_REFUSALS)
        self._empty = asyncio.Event()
        self._empty.set()

        def buckets(kind: str, rate: float, least_burst: float = 1) -> TokenBuckets:
            # As many at once as in a second, but at least `least_burst`.
            return make_buckets(kind, rate, max(1.0, rate, least_burst))

        burst = settings.message_burst
        self._rates_of_addresses = buckets("connections-from", settings.connection_rate)
        self._requests_of_services = buckets("requests-of-services", settings.service_rate)
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
        """Count an attempt to connect, before any work for it, or raise `RateLimited`."""
        if wait := self._rates_of_addresses.take(address, self._clock.steady()):
            raise RateLimited("connections from this address", int(wait * 1000) + 1)

    def check_request_rate(self, address: str) -> None:
        """Count a request of the HTTP API, or raise `RateLimited`."""
        if wait := self._requests_of_addresses.take(address, self._clock.steady()):
            raise RateLimited("requests from this address", int(wait * 1000) + 1)

    def charge_request(self, user_id: str) -> None:
        """Charge a user's request to the budget of that user's messages, or raise `RateLimited`."""
        now = self._clock.steady()
        if wait := self._messages_of_users.get(user_id, now).take(now, costs.REQUEST):
            raise RateLimited("requests and messages of this user", int(wait * 1000) + 1)

    def charge_service(self, user_id: str, requests: int = 1) -> None:
        """Count requests of a service, or items of its batch, or raise `RateLimited`."""
        now = self._clock.steady()
        if wait := self._requests_of_services.get(user_id, now).take(now, requests):
            raise RateLimited("requests of this service", int(wait * 1000) + 1)

    def check_address(self, address: str) -> None:
        """Raise `RateLimited` if an address has used up its requests. This counts none."""
        now = self._clock.steady()
        if wait := self._requests_of_addresses.get(address, now).take(now, 0):
            raise RateLimited("requests from this address", int(wait * 1000) + 1)

    def charge_address(self, address: str) -> None:
        """Count a request of the HTTP API after it was answered."""
        now = self._clock.steady()
        self._requests_of_addresses.get(address, now).spend(now, 1)

    async def delay_refusal(self, address: str) -> bool:
        """Delay a refusal for a rate by a second, to slow down a client that repeats it at once.

        A refusal costs nearly as much as a small reply. If `MAX_DELAYED_REFUSALS` of the address wait already, return
        False at once.
        """
        with self._delayed.acquire(address) as may_wait:
            if may_wait:
                await asyncio.sleep(REFUSAL_DELAY_SECONDS)
            return may_wait

    @contextmanager
    def pending(self, connection: PendingConnection, address: str, frames: Allowance) -> Iterator[None]:
        """Let `drain` close a connection that logs in within this context.

        All such connections of an address share a limit for everything but their one message.
        """
        bucket = self._frames_of_pending.get(address, asyncio.get_running_loop().time())
        frames.add(bucket, OF_PENDING)
        self._pending[connection] = address
        self._empty.clear()
        if self._draining:
            connection.close_after_reply(*self._sent_away())
        try:
            yield
        finally:
            frames.remove(OF_PENDING)
            del self._pending[connection]
            self._look_if_empty()

    async def admit(self, connection: Connection) -> tuple[Close, int | None] | None:
        """Admit a connection, count it until `remove`, and return None.

        Otherwise return the close code, and after how many milliseconds the client may reconnect.
        """
        if self._draining:
            return self._sent_away()
        if self._rates_of_users.take(connection.user_id, self._clock.steady()):
            return Close.OVERLOADED, None
        most = MAX_CONNECTIONS_PER_SERVICE if is_service(connection.user) else None
        if not await self._roster.admit(connection.user, connection.address, most):
            return Close.OVERLOADED, None
        if self._draining:  # since the check above
            self._roster.release(connection.user, connection.address)
            return self._sent_away()
        self.add(connection)
        return None

    def share_limits(
        self, connection: Connection, messages: Allowance, joins: Allowance, writes: Allowance, frames: Allowance
    ) -> None:
        """Add to a connection's limits those that its user's connections share, and those of its address."""
        self.share_message_limits(connection.user_id, connection.address, messages, joins, writes)
        of_user = self._frames_of_users.get(connection.user_id, asyncio.get_running_loop().time())
        frames.add(of_user, "of this user")

    def share_message_limits(
        self, user_id: str, address: str, messages: Allowance, joins: Allowance, writes: Allowance
    ) -> None:
        """Add the limits that all messages of a user share, and all messages from an address."""
        now = self._clock.steady()
        messages.add(self._messages_of_users.get(user_id, now), "of this user")
        messages.add(self._messages_from_addresses.get(address, now), "from this address")
        joins.add(self._joins_of_users.get(user_id, now), "of this user")
        writes.add(self._writes_of_users.get(user_id, now), "of this user")

    def record_abuse(self, connection: Connection) -> None:
        """Slow down the user of a connection that ended with `rate_abuse`."""
        self._rates_of_users.get(connection.user_id, now := self._clock.steady()).spend(now, ABUSE_CONNECTIONS)

    def add(self, connection: Connection) -> None:
        """Add a connection that has been admitted."""
        self._fanout.add(connection)
        self._empty.clear()
        self._of_user.setdefault(connection.user_id, set()).add(connection)
        if is_service(connection.user):
            self._services.add(connection.user_id)

    def remove(self, connection: Connection) -> None:
        """Remove a connection from the count."""
        self._fanout.discard(connection)
        of_user = self._of_user[connection.user_id]
        of_user.remove(connection)
        if not of_user:
            del self._of_user[connection.user_id]
        self._roster.release(connection.user, connection.address)
        self._look_if_empty()

    @property
    def count(self) -> int:
        """Return how many connections this node has."""
        return len(self._fanout)

    @property
    def user_count(self) -> int:
        """Return how many users these are."""
        return len(self._of_user)

    async def remote_count(self) -> int:
        """Return how many connections other nodes have, as far as this node knows."""
        return await self._roster.remote_connections()

    def deliver(self, frame: Frame, user_id: str | None = None) -> int:
        """Deliver an event to all connections, or to those of one user. Return how many there are."""
        if user_id is None:
            self._fanout.publish(ToAll(frame))
            return len(self._fanout)
        to = self.for_user(user_id)
        for connection in to:
            deliver_frame(frame, connection)
        return len(to)

    def for_user(self, user_id: str) -> tuple[Connection, ...]:
        """Return the connections of a user."""
        return tuple(self._of_user.get(user_id, ()))

    def all(self) -> list[Connection]:
        """Return all connections of this node."""
        return [connection for of_user in self._of_user.values() for connection in of_user]

    def login_sessions(self) -> set[tuple[str, str]]:
        """Return the sessions of all connections that have one, each with its user's id."""
        return {(connection.user_id, connection.sid) for connection in self.all() if connection.sid is not None}

    def service_keys(self) -> set[str]:
        """Return the ids of the keys of connected services."""
        connected = (connection for user_id in self._services for connection in self.for_user(user_id))
        return {connection.sid for connection in connected if connection.sid is not None}

    def own_user_ids(self) -> set[str]:
        """Return the ids of users that are connected with tokens of this gateway."""
        return {connection.user_id for connection in self.all() if connection.sid is not None}

    def limit_rooms(self, user_id: str, rights: RoomRights) -> None:
        """Limit the connections that a user has with tokens of this gateway."""
        for connection in self.for_user(user_id):
            if connection.sid is not None:
                with contained("connections"):
                    connection.limit_rooms(rights)

    def external_user_ids(self) -> set[str]:
        """Return the ids of connected users without a session here: an external service vouches for them."""
        return {connection.user_id for connection in self.all() if connection.sid is None}

    def close_revoked(self, revoked: Revoked) -> None:
        """Close the connections of sessions that have ended."""
        for connection in self.for_user(revoked.user_id):
            if revoked.sessions is None or connection.sid in revoked.sessions:
                _close(connection, Close.TOKEN_REVOKED)

    def disconnect(self, connections: Iterable[Connection]) -> int:
        """Close connections that a service wants to end, and return their number."""
        ended = tuple(connections)
        for connection in ended:
            _close(connection, Close.DISCONNECTED)
        return len(ended)

    def disconnect_pending(self, address: str) -> int:
        """Close the connections of an address that have not logged in yet, and return their number."""
        ended = [connection for connection, of in self._pending.items() if of == address]
        for connection in ended:
            with contained("connections"):
                connection.close_after_reply(Close.DISCONNECTED)
        return len(ended)

    @property
    def is_draining(self) -> bool:
        """Return whether this node takes no newcomers."""
        return self._draining

    @property
    def seconds_to_leave(self) -> float:
        """Return in how many seconds the clients can go elsewhere, if a node like this one is to take them."""
        clients = len(self._pending) + self.count
        return self._spread_of(clients * self._newcomers.seconds_each / MOVE_SHARE) / 1000

    def take_no_newcomers(self) -> None:
        """Send newcomers away from now on, to come back soon: a proxy leads them to another node by then."""
        self._draining = True
        self._spread = LEAST_RECONNECT_SPREAD_MS
        self._newcomers.drain(self._spread)

    def take_newcomers(self) -> None:
        """Undo `take_no_newcomers`."""
        self._draining = False
        self._newcomers.drain(None)

    async def send_away(self, seconds: float) -> None:
        """Take no newcomers, and ask all clients to reconnect, one after the other over so many seconds.

        Each client is away for a moment only, while `drain` asks all at once, each to come back at its own time.
        """
        self.take_no_newcomers()
        leaving = (*self._pending, *self.all())
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, each in enumerate(leaving):
            wait = began + seconds * number / len(leaving) - loop.time()
            if wait > 0 or not (number + 1) % CHUNK:
                await asyncio.sleep(max(0.0, wait))
            with contained("connections"):
                each.close_after_reply(*self._sent_away())

    async def drain(self, seconds: float) -> None:
        """Ask every client to reconnect, each at its own moment, and wait until all are gone.

        Cut the connections that are left after so many seconds.
        """
        self._draining = True
        leaving = (*self._pending, *self.all())
        # All are away at once, so they come sooner than a node takes them: some wait there for their turn.
        clients = len(leaving) + self._newcomers.waiting
        self._spread = self._spread_of(clients * self._newcomers.seconds_each * RETURN_SHARE)
        self._newcomers.drain(self._spread)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for number, each in enumerate(leaving):
                    with contained("connections"):
                        # Each has its own part of the spread, so that they come as evenly as possible.
                        after_ms = int((number + secrets.randbelow(1000) / 1000) * self._spread / len(leaving))
                        each.close_after_reply(Close.DRAINING, after_ms)
                    if not (number + 1) % CHUNK:
                        await asyncio.sleep(0)
                await self._empty.wait()
        for left in (*self._pending, *self.all()):
            with contained("connections"):
                left.abort()  # it does not read, or handles a message that takes too long

    @staticmethod
    def _spread_of(seconds: float) -> int:
        """Return in how many milliseconds clients come back that need so many seconds."""
        return min(MAX_RECONNECT_SPREAD_MS, LEAST_RECONNECT_SPREAD_MS + round(1000 * seconds))

    def _look_if_empty(self) -> None:
        if not self._fanout and not self._pending:
            self._empty.set()

    def _sent_away(self) -> tuple[Close, int]:
        """Return the close code, and after how many milliseconds to reconnect."""
        return Close.DRAINING, secrets.randbelow(self._spread)


def _close(connection: Connection, close: Close) -> None:
    try:
        connection.close(close)
    except Exception as fault:  # neither this connection nor the others may stay open
        faults.record("connections", fault)
        with contained("connections"):
            connection.abort()
