"""The connections of a bus to its server, or to each server of a cluster that takes writes.

To each, one connection hears and one speaks. What is sent on a connection is answered in order, so a list of what is
awaited is all that it takes to know which subscription a confirmation is of. Whatever does not fit, or does not come in
time, raises: then all connections are made anew, which is the one way in which anything is mended here.
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
"""Channels of one command to subscribe; the answers to more would make others wait."""

SHARDED = (7, 0)
"""The version of Redis since which there are sharded channels. Valkey says that it is a newer one."""

Message: TypeAlias = tuple[str, bytes]
"""A channel, and what is said on it."""


class Channel:
    """A channel that this node hears, or wants to."""

    __slots__ = ("confirmed", "late", "name", "room", "sent", "wanted")

    def __init__(self, name: str, room: str | None) -> None:
        self.name = name
        self.room = room
        self.wanted = True
        self.sent = False
        self.late = False
        """Whether somebody has stopped waiting, and believes to hear what it may not."""
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def reset(self) -> None:
        """Begin again, on another connection; who waits for this one waits no more."""
        self.settle()
        self.sent = False
        self.confirmed = asyncio.get_running_loop().create_future()

    def settle(self) -> None:
        """Let those go on who wait."""
        if not self.confirmed.done():
            self.confirmed.set_result(None)


class PubSubConnection:
    """The two connections to one server."""

    def __init__(self, subscribing: AbstractConnection, publishing: AbstractConnection, *, sharded: bool) -> None:
        self._subscribing = subscribing
        self._publishing = publishing
        self._verbs = ("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH")
        # In a cluster, one command may only name channels that are kept in one place.
        self._channels = 1 if sharded else CHANNELS
        self._awaited: deque[tuple[bytes, Channel | None]] = deque()
        self._pings = 0

    async def open(self) -> None:
        """Connect."""
        for connection in (self._subscribing, self._publishing):
            connection.retry = Retry(NoBackoff(), 0)  # whoever uses the links tries again, and knows that it does
            await connection.connect()  # type: ignore[no-untyped-call] # redis-py has types for most, not for all

    async def close(self) -> None:
        """Close, without a word to the server."""
        for connection in (self._subscribing, self._publishing):
            await connection.disconnect(nowait=True)

    async def update_subscriptions(self, joined: Sequence[Channel], left: Sequence[Channel]) -> None:
        """Ask for channels, and for others no more."""
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
        """Wait for what comes next: a message, a channel that is heard from now on, or what is neither."""
        answer = await self._subscribing.read_response(timeout=math.inf)
        self._pings = 0
        match answer:
            case [b"message" | b"smessage", bytes() as name, bytes() as data]:
                return name.decode(errors="replace"), data
            case [b"subscribe" | b"ssubscribe" | b"unsubscribe" | b"sunsubscribe" as verb, bytes() as name, _]:
                return self._confirmed(name, joined=b"un" not in verb)
            case [b"pong", _] | b"PONG":
                return None
        raise exceptions.InvalidResponse("something else than messages came on the connection that hears")

    def _confirmed(self, name: bytes, *, joined: bool) -> Channel | None:
        awaited, channel = self._awaited.popleft() if self._awaited else (b"", None)
        if awaited != name or joined != (channel is not None):
            # A server of a cluster says so of channels that have moved to another one.
            raise exceptions.ConnectionError(CHANGED)
        return channel

    async def ping(self) -> None:
        """Ask for a sign of life; raises if there was none since this was done twice."""
        if self._pings == 2:
            raise exceptions.TimeoutError("the server is silent")
        self._pings += 1
        await _send(self._subscribing, self._subscribing.pack_command("PING"))

    async def publish(self, messages: Iterable[Message]) -> None:
        """Publish, and wait until the server has it all."""
        publish = self._verbs[2]
        await self._execute([(publish, channel, data) for channel, data in messages])

    async def keep_alive(self) -> None:
        """Keep the connection that speaks from being forgotten on the way, where it has nothing to say."""
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
        # redis-py would connect again, to a server that knows of no channel of ours.
        raise exceptions.ConnectionError(CLOSED)
    await connection.send_packed_command(packed, check_health=False)


class PubSubConnections:
    """All links, and which of them a channel belongs to."""

    def __init__(self, connections: dict[str, PubSubConnection], client: RedisClient, *, sharded: bool) -> None:
        self._connections = connections
        self._client = client
        self._sharded = sharded

    def __iter__(self) -> Iterator[PubSubConnection]:
        return iter(self._connections.values())

    def for_channel(self, channel: str) -> PubSubConnection:
        """Find the link of a channel."""
        if not self._sharded:
            return next(iter(self))
        assert isinstance(self._client, RedisCluster)  # noqa: S101 - nothing else is sharded
        node = self._client.get_node_from_key(channel)
        connection = None if node is None else self._connections.get(node.name)
        if connection is None:
            raise exceptions.ConnectionError(CHANGED)
        return connection


@asynccontextmanager
async def open_connections(client: RedisClient) -> AsyncIterator[PubSubConnections]:
    """Connect, and disconnect at the end; raises what `gateway.bus.redis_client.FAILURES` lists."""
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
    """List the servers to connect to, as what makes a connection; and tell whether channels are kept apart there.

    On a single server, sharded channels are the same work under another name, and Redis 6.2 lacks them: they are for
    clusters, where each other message is copied to every server.
    """
    if not isinstance(client, RedisCluster):
        return {"": client.connection_pool.make_connection}, False
    # Where everything is may have changed since it was last asked for.
    await client.initialize()
    await client.nodes_manager.initialize()
    primaries = {
        node.name: lambda node=node: node.connection_class(**node.connection_kwargs) for node in client.get_primaries()
    }
    info = await client.info("server", target_nodes=client.get_random_primary_node())
    sharded = (version(info) or SHARDED) >= SHARDED
    return (primaries if sharded else dict(islice(primaries.items(), 1))), sharded
