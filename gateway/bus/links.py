"""The connections of a bus to its server, or to each primary of a cluster.

Each server gets two connections: one subscribes, one publishes. A connection answers commands in order, so a list of
the expected answers shows which subscription a confirmation belongs to. An unexpected or late answer raises an error.
Then all connections are made again: that is the only repair here.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, TypeAlias

from redis import exceptions
from redis.asyncio import RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.bus.redis_client import ANSWER_SECONDS, CHANGED, CLOSED, RedisClient, version
from gateway.core.batches import batches

CHANNELS = 200
"""Channels in one command to subscribe. Answers for more would delay other messages."""

SHARDED = (7, 0)
"""The first version of Redis with sharded channels. Valkey reports a newer version than this."""

Message: TypeAlias = tuple[str, bytes]
"""A channel and the data of a message on it."""


class Channel:
    """A channel to which this node is subscribed, or wants to be."""

    __slots__ = ("confirmed", "late", "name", "room", "sent", "wanted")

    def __init__(self, name: str, room: str | None) -> None:
        self.name = name
        self.room = room
        self.wanted = True
        self.sent = False
        self.late = False
        """Whether a task has stopped waiting for the confirmation, so that it may have missed events."""
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def reset(self) -> None:
        """Start again on another connection, and end the wait for this one."""
        self.stop_waiting()
        self.sent = False
        self.confirmed = asyncio.get_running_loop().create_future()

    def stop_waiting(self) -> None:
        """End the wait for the confirmation."""
        if not self.confirmed.done():
            self.confirmed.set_result(None)


class PubSubConnection:
    """The two connections to one server."""

    def __init__(self, subscribing: AbstractConnection, publishing: AbstractConnection, *, sharded: bool) -> None:
        self._subscribing = subscribing
        self._publishing = publishing
        self._verbs = ("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH")
        # In a cluster, a command may name only channels of one slot.
        self._channels = 1 if sharded else CHANNELS
        self._awaited: deque[tuple[bytes, Channel | None]] = deque()
        self._pings = 0

    async def open(self) -> None:
        """Open the connections."""
        for connection in (self._subscribing, self._publishing):
            connection.retry = Retry(NoBackoff(), 0)  # the caller retries, and knows that it does
            await connection.connect()  # type: ignore[no-untyped-call] # redis-py has types for most, not for all

    async def close(self) -> None:
        """Close the connections, without waiting for the server."""
        for connection in (self._subscribing, self._publishing):
            await connection.disconnect(nowait=True)

    async def update_subscriptions(self, joined: Sequence[Channel], left: Sequence[Channel]) -> None:
        """Subscribe to some channels, and unsubscribe from others."""
        subscribe, unsubscribe, _ = self._verbs
        self._awaited += [(channel.name.encode(), channel) for channel in joined]
        self._awaited += [(channel.name.encode(), None) for channel in left]
        commands = [
            (verb, *(channel.name for channel in batch))
            for verb, channels in ((subscribe, joined), (unsubscribe, left))
            for batch in batches(channels, self._channels)
        ]
        await _send(self._subscribing, self._subscribing.pack_commands(commands))

    async def receive(self) -> Message | Channel | None:
        """Wait for the next answer. Return a message, a channel that is now subscribed, or None for anything else."""
        answer = await self._subscribing.read_response(timeout=math.inf)
        self._pings = 0
        match answer:
            case [b"message" | b"smessage", bytes() as name, bytes() as data]:
                return name.decode(errors="replace"), data
            case [b"subscribe" | b"ssubscribe" | b"unsubscribe" | b"sunsubscribe" as verb, bytes() as name, _]:
                return self._confirmed(name, joined=b"un" not in verb)
            case [b"pong", _] | b"PONG":
                return None
        raise exceptions.InvalidResponse("the subscribed connection received something else than messages")

    def _confirmed(self, name: bytes, *, joined: bool) -> Channel | None:
        awaited, channel = self._awaited.popleft() if self._awaited else (b"", None)
        if awaited != name or joined != (channel is not None):
            # A server of a cluster sends this for channels that have moved to another server.
            raise exceptions.ConnectionError(CHANGED)
        return channel

    async def ping(self) -> None:
        """Send a ping. Raise if the previous two have no answer."""
        if self._pings == 2:
            raise exceptions.TimeoutError("the server is silent")
        self._pings += 1
        await _send(self._subscribing, self._subscribing.pack_command("PING"))

    async def publish(self, messages: Iterable[Message]) -> None:
        """Publish messages, and wait until the server has confirmed all of them."""
        publish = self._verbs[2]
        await self._execute([(publish, channel, data) for channel, data in messages])

    async def keep_alive(self) -> None:
        """Send a ping on the publishing connection, so that nothing on the way closes it for silence."""
        await self._execute([("PING",)])

    async def _execute(self, commands: list[tuple[Any, ...]]) -> None:
        publishing = self._publishing
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await _send(publishing, publishing.pack_commands(commands))
                for _ in commands:
                    await publishing.read_response(timeout=math.inf)
        except TimeoutError:
            raise exceptions.TimeoutError("the server is silent") from None


async def _send(connection: AbstractConnection, packed: Iterable[bytes]) -> None:
    if not connection.is_connected:
        # redis-py would connect again, to a server that has no subscription of this node.
        raise exceptions.ConnectionError(CLOSED)
    await connection.send_packed_command(packed, check_health=False)


class PubSubConnections:
    """All connections, with a look-up of the one for a channel."""

    def __init__(self, connections: dict[str, PubSubConnection], client: RedisClient, *, sharded: bool) -> None:
        self._connections = connections
        self._client = client
        self._sharded = sharded

    def __iter__(self) -> Iterator[PubSubConnection]:
        return iter(self._connections.values())

    def for_channel(self, channel: str) -> PubSubConnection:
        """Return the connection for a channel."""
        if not self._sharded:
            return next(iter(self))
        assert isinstance(self._client, RedisCluster)  # noqa: S101 - only a cluster is sharded
        node = self._client.get_node_from_key(channel)
        connection = None if node is None else self._connections.get(node.name)
        if connection is None:
            raise exceptions.ConnectionError(CHANGED)
        return connection


@asynccontextmanager
async def open_connections(client: RedisClient) -> AsyncIterator[PubSubConnections]:
    """Open the connections, and close them at the end. Raise what `gateway.bus.redis_client.FAILURES` lists."""
    makers, sharded = await _servers(client)
    connections = {name: PubSubConnection(make(), make(), sharded=sharded) for name, make in makers.items()}
    try:
        for connection in connections.values():
            await connection.open()
        yield PubSubConnections(connections, client, sharded=sharded)
    finally:
        for connection in connections.values():
            await connection.close()


async def _servers(client: RedisClient) -> tuple[dict[str, Any], bool]:
    """Return a function for each server that makes a connection to it, and whether channels are sharded.

    On a single server, sharded channels have no advantage, and Redis 6.2 lacks them. A cluster needs them: it copies
    each other message to every server.
    """
    if not isinstance(client, RedisCluster):
        return {"": client.connection_pool.make_connection}, False
    # The cluster's layout may have changed since the last look-up.
    await client.initialize()
    await client.nodes_manager.initialize()
    primaries = {
        node.name: lambda node=node: node.connection_class(**node.connection_kwargs) for node in client.get_primaries()
    }
    info = await client.info("server", target_nodes=client.get_random_primary_node())
    sharded = (version(info) or SHARDED) >= SHARDED
    return (primaries if sharded else dict(islice(primaries.items(), 1))), sharded
