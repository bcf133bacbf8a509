"""The bus of several nodes, over Redis or Valkey.

A room has a channel, which a node hears only while somebody there hears the room; what is for a user, or for all, has
one that every node hears. This node is given its own events first and at once. They then wait in a bounded queue for
the one task that publishes, so nobody ever waits for the server.

What may be lost, when the queue is full or the server away, is told by `missed`: to this node, when it hears again; to
others, by the next offset that they see, and by their own looks at the store.
"""

import asyncio
import logging
import random
from collections import deque
from contextlib import suppress

from gateway.bus import codec
from gateway.bus.base import BusCounters, BusEvent, Missed, Receive, Revoke, Revoked
from gateway.bus.codec import Rejected
from gateway.bus.links import Channel, Message, PubSubConnection, PubSubConnections, open_connections
from gateway.bus.redis_client import FAILURES, RedisClient, check, close, explain
from gateway.config.settings import Settings
from gateway.core import faults
from gateway.core.faults import contained
from gateway.core.tasks import stop

logger = logging.getLogger(__name__)

START_SECONDS = 5.0
"""How long a start waits for all to be heard. What is not there by then is waited for while it serves."""

SUBSCRIBE_SECONDS = 2.0
"""How long whoever joins a room waits for the bus. If it takes longer, what was missed is read when it is there."""

PING_SECONDS = 1.0
"""How often the server is asked for a sign of life. It is given up after two without one."""

KEEP_SECONDS = 15.0
"""After how long without a word the connection that speaks says one."""

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
"""How long to wait before connecting again: twice as long each time, up to this."""

BATCH = 256
BATCH_BYTES = 256 * 1024
"""What is published before its answers are read: a millisecond's work, and also over a slow network not a second's."""

TURN = 64
"""Messages that are heard before the loop does other things."""

CLOSE_SECONDS = 1.0
"""How long the last messages are given at the end."""

REPORT_SECONDS = 60.0
"""How often the log says that messages came which are not understood."""


class RedisBus:
    """Carries events between nodes that share a server and a prefix."""

    def __init__(self, client: RedisClient, settings: Settings, node: str) -> None:
        """`node` is the id by which this node knows its own messages; no other may have it."""
        self._client = client
        self._settings = settings
        self._signature = codec.signature(node)
        self._nodes = f"{settings.bus_prefix}:nodes"
        self._rooms = f"{settings.bus_prefix}:room:"
        self._receive: Receive | None = None
        self._revoke: Revoke | None = None
        self._missed: Missed | None = None
        self._channels: dict[str, Channel] = {}
        self._changed: dict[str, Channel] = {}
        self._change = asyncio.Event()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._more = asyncio.Event()
        self._said = asyncio.Event()  # all that there was to say
        self._said.set()
        self._connections: PubSubConnections | None = None
        self._unheard: set[Channel] = set()
        self._up = False
        self._tried = asyncio.Event()
        self._lost_at: float | None = None
        self._running: asyncio.Task[None] | None = None
        self._reported_at: float | None = None
        self.counters = BusCounters()

    @property
    def is_up(self) -> bool:
        """Whether this node hears the others, and they it."""
        return self._up

    @property
    def is_shared(self) -> bool:
        """Always."""
        return True

    @property
    def waiting(self) -> int:
        """How many messages wait to be published."""
        return len(self._waiting)

    @property
    def channels(self) -> int:
        """How many channels this node hears, or is about to."""
        return len(self._channels)

    async def start(self, receive: Receive, revoke: Revoke, missed: Missed) -> None:
        """Begin; raises `StartError` if the bus must be there and is not."""
        self._receive, self._revoke, self._missed = receive, revoke, missed
        if self._settings.bus_required:
            await self.check()
        self._channels[self._nodes] = Channel(self._nodes, None)
        self._running = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._tried.wait()

    async def check(self) -> None:
        """Make sure that the server is there and right, or raise `StartError` in one line."""
        await check(self._client, self._settings)

    async def publish(self, event: BusEvent) -> int:
        """Give an event to this node now, and to the others as soon as may be."""
        given = self._give(event)
        channel = self._nodes if event.room is None else self._rooms + event.room
        self._put(channel, codec.pack(self._signature, event), droppable=event.frame.droppable)
        return given

    async def revoke(self, revoked: Revoked) -> None:
        """Tell this node now, and the others as soon as may be."""
        self._give(revoked)
        self._put(self._nodes, codec.pack_revoked(self._signature, revoked), droppable=False)

    async def subscribe(self, room: str) -> None:
        """Ask for a room's events; returns when they come, or when `missed` is sure to tell of those that do not."""
        name = self._rooms + room
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name, room)
        channel.wanted = True
        if self._connections is None:
            return
        if not channel.sent:
            self._note(channel)
        if not channel.confirmed.done():
            await asyncio.wait([channel.confirmed], timeout=SUBSCRIBE_SECONDS)
            channel.late = channel.late or not channel.confirmed.done()

    def unsubscribe(self, room: str) -> None:
        """Stop asking for a room's events."""
        channel = self._channels.get(self._rooms + room)
        if channel is None:
            return
        channel.wanted = False
        if self._connections is None:
            del self._channels[channel.name]
        else:
            self._note(channel)

    async def close(self) -> None:
        """Publish what is waiting, if that is done soon, and stop."""
        running, self._running = self._running, None
        if running is not None:
            if self.is_up:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._said.wait()
            await stop(running)
        self._receive = self._revoke = self._missed = None
        await close(self._client)

    def _put(self, channel: str, data: bytes, *, droppable: bool) -> None:
        share = 2 if droppable else 1
        if (
            self._running is None
            or (droppable and not self._up)  # what it says would be wrong by the time that anybody hears it
            or share * len(self._waiting) >= self._settings.bus_queue
            or share * (self._waiting_bytes + len(data)) > self._settings.bus_queue_bytes
        ):
            # Whoever publishes must not wait. What is of a room's log, the others read from the store: they see that
            # an offset is missing, or look by themselves.
            self.counters.dropped += 1
            return
        self._waiting.append((channel, data))
        self._waiting_bytes += len(data)
        self._more.set()
        self._said.clear()

    def _note(self, channel: Channel) -> None:
        self._changed[channel.name] = channel
        self._change.set()

    async def _run(self) -> None:
        """Connect, again and again."""
        retry = FIRST_RETRY_SECONDS
        while True:
            connects = self.counters.connects
            try:
                await self._live()
            except FAILURES as error:
                self._lost(explain(error))
            except Exception as error:  # it must come back whatever it was
                faults.record("bus", error)
                self._lost(type(error).__name__)
            if self.counters.connects > connects:
                retry = FIRST_RETRY_SECONDS
            # Nodes that lost it together must not come back in one moment.
            await asyncio.sleep(retry * random.uniform(0.5, 1))  # noqa: S311 - not a secret
            retry = min(2 * retry, LAST_RETRY_SECONDS)

    async def _live(self) -> None:
        """Hear and speak until a connection fails, which raises."""
        async with open_connections(self._client) as connections:
            self._begin(connections)
            work = [self._hear(connection) for connection in connections]
            tasks = [
                asyncio.create_task(each)
                for each in (*work, self._follow(connections), self._speak(connections), self._ping(connections))
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._end()
                await stop(*tasks)
            for task in done:
                task.result()

    def _begin(self, connections: PubSubConnections) -> None:
        self._connections = connections
        self._unheard = set(self._channels.values())
        for channel in self._channels.values():
            channel.reset()
            self._note(channel)

    def _end(self) -> None:
        self._connections = None
        self._up = False
        self._changed.clear()
        for channel in tuple(self._channels.values()):
            channel.settle()
            if not channel.wanted:
                del self._channels[channel.name]

    def _lost(self, why: str) -> None:
        self._tried.set()
        if self._lost_at is None:
            self._lost_at = asyncio.get_running_loop().time()
            logger.warning("the bus is away: %s; until it is back, other nodes are told late", why)

    def _found(self) -> None:
        """Note that all channels are heard."""
        self._up = True
        self._tried.set()
        self.counters.connects += 1
        if self._lost_at is not None:
            logger.info("the bus is back after %.1f seconds", asyncio.get_running_loop().time() - self._lost_at)
            self._lost_at = None
        self._tell_missed(None)

    async def _follow(self, connections: PubSubConnections) -> None:
        """Subscribe and unsubscribe as rooms are joined and left."""
        while True:
            await self._change.wait()
            self._change.clear()
            changed, self._changed = self._changed, {}
            joined: dict[PubSubConnection, list[Channel]] = {}
            left: dict[PubSubConnection, list[Channel]] = {}
            for channel in changed.values():
                if not channel.wanted:
                    del self._channels[channel.name]
                    if channel.sent:
                        left.setdefault(connections.for_channel(channel.name), []).append(channel)
                    else:
                        self._confirm(channel)
                elif not channel.sent:
                    channel.sent = True
                    joined.setdefault(connections.for_channel(channel.name), []).append(channel)
            for connection in connections:
                if connection in joined or connection in left:
                    await connection.update_subscriptions(joined.get(connection, []), left.get(connection, []))

    async def _hear(self, connection: PubSubConnection) -> None:
        while True:
            for _ in range(TURN):
                heard = await connection.receive()
                if isinstance(heard, tuple):
                    self._take(*heard)
                elif heard is not None:
                    self._confirm(heard)
            await asyncio.sleep(0)  # much that has come is heard without a pause

    def _confirm(self, channel: Channel) -> None:
        """Note that a channel is heard, or wanted no more."""
        channel.settle()
        self._unheard.discard(channel)
        if not self._unheard and not self.is_up:
            self._found()
        elif channel.late:
            self._tell_missed(channel.room)
        channel.late = False

    async def _speak(self, connections: PubSubConnections) -> None:
        while True:
            self._more.clear()
            while self._waiting:
                await self._publish(connections, self._next_batch())
            self._said.set()
            try:
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._more.wait()
            except TimeoutError:
                for connection in connections:
                    await connection.keep_alive()

    def _next_batch(self) -> list[Message]:
        batch: list[Message] = []
        size = 0
        while self._waiting and len(batch) < BATCH and size < BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][1])
        self._waiting_bytes -= size
        return batch

    async def _publish(self, connections: PubSubConnections, batch: list[Message]) -> None:
        by_connection: dict[PubSubConnection, list[Message]] = {}
        for message in batch:
            by_connection.setdefault(connections.for_channel(message[0]), []).append(message)
        published = 0
        try:
            for connection, messages in by_connection.items():
                await connection.publish(messages)
                published += len(messages)
        finally:
            # What the server may have had is not sent again: what is of no log would be told twice.
            self.counters.published += published
            self.counters.dropped += len(batch) - published

    async def _ping(self, connections: PubSubConnections) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            for connection in connections:
                await connection.ping()

    def _take(self, channel: str, data: bytes) -> None:
        if data.startswith(self._signature):
            return  # our own, given already
        self.counters.received += 1
        room = None if channel == self._nodes else channel.removeprefix(self._rooms)
        with contained("bus"):
            try:
                self._give(codec.unpack(data, room))
            except Rejected as rejected:
                self._reject(rejected.reason, room)

    def _give(self, said: BusEvent | Revoked) -> int:
        """Deliver something on this node, and return how many got it. No message can end the bus."""
        try:
            if isinstance(said, Revoked):
                if self._revoke is not None:
                    self._revoke(said)
            elif self._receive is not None:
                return self._receive(said)
        except Exception as fault:
            faults.record("bus", fault)
            if isinstance(said, BusEvent) and said.room is not None:
                self._tell_missed(said.room)  # the log of the room still has it
        return 0

    def _reject(self, reason: str, room: str | None) -> None:
        self.counters.rejected[reason] += 1
        now = asyncio.get_running_loop().time()
        if self._reported_at is None or now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            logger.warning(
                "messages on the bus are not understood (%s; so far: %s); is there another application with this"
                " prefix, or another version of the gateway?",
                reason,
                ", ".join(f"{name} {count}" for name, count in sorted(self.counters.rejected.items())),
            )
        if room is not None:
            self._tell_missed(room)  # a newer version may have said what we should know

    def _tell_missed(self, room: str | None) -> None:
        if self._missed is not None:
            with contained("bus"):
                self._missed(room)
