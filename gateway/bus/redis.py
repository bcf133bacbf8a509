"""The bus of several nodes, over Redis or Valkey.

A room has a channel. A node subscribes to it only while the room has a subscriber on that node. Events for a user, or
for all, use a channel of all nodes, and a message for one node uses that node's own. This node delivers its own events
at once. After that they wait in a bounded queue for the one task that publishes, so that no sender waits for the
server.

A full queue or a lost server may lose events. This node then calls `on_missed` when it is subscribed again. Other nodes
notice the loss by the next offset, and by their own regular look at the store.
"""

import asyncio
import logging
import random
from collections import deque
from contextlib import suppress
from time import perf_counter

from gateway.bus import codec
from gateway.bus.base import (
    BusCounters,
    BusEvent,
    NodeMessage,
    OnEvent,
    OnMissed,
    OnNodeMessage,
    OnRevoked,
    Revoked,
    room_of,
)
from gateway.bus.codec import Rejected
from gateway.bus.links import Channel, Message, PubSubConnection, PubSubConnections, open_connections
from gateway.bus.redis_client import FAILURES, RedisClient, check, close, explain
from gateway.config.settings import Settings
from gateway.core import faults
from gateway.core.faults import contained
from gateway.core.tasks import cancel_and_wait

logger = logging.getLogger(__name__)

START_SECONDS = 5.0
"""How long a start waits for all subscriptions. After that, the gateway serves and waits in the background."""

SUBSCRIBE_SECONDS = 2.0
"""How long a join waits for the bus. If it takes longer, missed events are read from the store afterwards."""

PING_SECONDS = 1.0
"""How often the server gets a ping. After two without an answer, the connection counts as lost."""

KEEP_SECONDS = 15.0
"""Seconds of silence after which the publishing connection sends a ping."""

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 5.0
"""The wait before a new connection: it doubles each time, up to this."""

BATCH = 256
BATCH_BYTES = 256 * 1024
"""The size of a batch before its answers are read: a millisecond's work, and less than a second on a slow network."""

TURN = 64
"""Messages to receive before the event loop does other work."""

CLOSE_SECONDS = 1.0
"""Seconds to publish the last messages at the end."""

LOST_SECONDS = 10.0
"""After this time, a message that was to measure the lag counts as lost, and another one measures it."""

REPORT_SECONDS = 60.0
"""How often the log reports messages that cannot be read."""


class RedisBus:
    """Carries events between nodes that share a server and a prefix."""

    def __init__(self, client: RedisClient, settings: Settings, node: str) -> None:
        """Prepare a bus. By the id `node`, this node recognises its own messages, so no other node may have it."""
        self._client = client
        self._settings = settings
        self.node = node
        self._signature = codec.signature(node)
        self._nodes = f"{settings.bus_prefix}:nodes"
        self._node = f"{settings.bus_prefix}:node:"
        self._own = self._node + node
        self._rooms = f"{settings.bus_prefix}:room:"
        self._on_event: OnEvent | None = None
        self._on_revoked: OnRevoked | None = None
        self._on_missed: OnMissed | None = None
        self._on_node_message: OnNodeMessage | None = None
        self._channels: dict[str, Channel] = {}
        self._changed: dict[str, Channel] = {}
        self._change = asyncio.Event()
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._has_waiting = asyncio.Event()
        self._drained = asyncio.Event()  # no message waits
        self._drained.set()
        self._connections: PubSubConnections | None = None
        self._unconfirmed: set[Channel] = set()
        self._up = False
        self._tried = asyncio.Event()
        self._lost_at: float | None = None
        self._running: asyncio.Task[None] | None = None
        self._reported_at: float | None = None
        self._measured: bytes | None = None
        self._measured_at = 0.0
        self.counters = BusCounters()

    @property
    def is_up(self) -> bool:
        """Return whether this node and the others receive each other's events."""
        return self._up

    @property
    def is_shared(self) -> bool:
        """Return True: there may be other nodes."""
        return True

    @property
    def waiting(self) -> int:
        """Return how many messages wait to be published."""
        return len(self._waiting)

    @property
    def channels(self) -> int:
        """Return the number of channels to which this node is subscribed, or is about to be."""
        return len(self._channels)

    async def start(self, on_event: OnEvent, on_revoked: OnRevoked, on_missed: OnMissed) -> None:
        """Start the bus, or raise `StartError` if it is required but not available."""
        self._on_event, self._on_revoked, self._on_missed = on_event, on_revoked, on_missed
        if self._settings.bus_required:
            await self.check()
        for name in (self._nodes, self._own):
            self._channels[name] = Channel(name, None)
        self._running = asyncio.create_task(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._tried.wait()

    async def check(self) -> None:
        """Check that the server is available and suitable, or raise `StartError` in one line."""
        await check(self._client, self._settings)

    async def publish(self, event: BusEvent) -> int:
        """Deliver an event on this node now, and on the others as soon as possible."""
        given = self._deliver(event)
        room = room_of(event)
        channel = self._nodes if room is None else self._rooms + room
        self._enqueue(channel, codec.pack(self._signature, event), droppable=event.frame.droppable)
        return given

    async def revoke(self, revoked: Revoked) -> None:
        """Revoke sessions on this node now, and on the others as soon as possible."""
        self._deliver(revoked)
        self._enqueue(self._nodes, codec.pack_revoked(self._signature, revoked), droppable=False)

    def listen(self, on_node_message: OnNodeMessage) -> None:
        """Pass each message from other nodes to this function."""
        self._on_node_message = on_node_message

    def send(self, node: str | None, message: NodeMessage) -> bool:
        """Send a message to another node, or to all others. Return whether it is on its way."""
        if not self._up:
            return False  # it would be out of date on arrival
        channel = self._nodes if node is None else self._node + node
        return self._enqueue(channel, codec.pack_node_message(self._signature, message), droppable=False)

    async def subscribe(self, room: str) -> None:
        """Subscribe to a room, and return when its events arrive, or when `on_missed` is sure to report lost ones."""
        name = self._rooms + room
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name, room)
        channel.wanted = True
        if self._connections is None:
            return
        if not channel.sent:
            self._mark_changed(channel)
        if not channel.confirmed.done():
            await asyncio.wait([channel.confirmed], timeout=SUBSCRIBE_SECONDS)
            channel.late = channel.late or not channel.confirmed.done()

    def unsubscribe(self, room: str) -> None:
        """Unsubscribe from a room."""
        channel = self._channels.get(self._rooms + room)
        if channel is None:
            return
        channel.wanted = False
        if self._connections is None:
            del self._channels[channel.name]
        else:
            self._mark_changed(channel)

    async def close(self) -> None:
        """Publish the waiting messages, if that is quick, and stop."""
        running, self._running = self._running, None
        if running is not None:
            if self.is_up:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._drained.wait()
            await cancel_and_wait(running)
        self._on_event = self._on_revoked = self._on_missed = self._on_node_message = None
        await close(self._client)

    def _enqueue(self, channel: str, data: bytes, *, droppable: bool) -> bool:
        share = 2 if droppable else 1
        if (
            self._running is None
            or (droppable and not self._up)  # it would be out of date on arrival
            or share * len(self._waiting) >= self._settings.bus_queue
            or share * (self._waiting_bytes + len(data)) > self._settings.bus_queue_bytes
        ):
            # A publisher must not wait. Other nodes read events of a room's log from the store: they notice the missing
            # offset, or find it by their own look.
            self.counters.dropped += 1
            return False
        self._waiting.append((channel, data))
        self._measure(channel, data)
        self._waiting_bytes += len(data)
        self._has_waiting.set()
        self._drained.clear()
        return True

    def _measure(self, channel: str, data: bytes) -> None:
        """Measure the time until this message comes back, unless another one is on its way, or it will not come."""
        now = perf_counter()
        if channel in self._channels and (self._measured is None or now - self._measured_at > LOST_SECONDS):
            self._measured, self._measured_at = data, now

    def _mark_changed(self, channel: Channel) -> None:
        self._changed[channel.name] = channel
        self._change.set()

    async def _run(self) -> None:
        """Connect again and again."""
        retry = FIRST_RETRY_SECONDS
        while True:
            connects = self.counters.connects
            try:
                await self._serve_connections()
            except FAILURES as error:
                self._note_lost(explain(error))
            except Exception as error:  # it must continue after any error
                faults.record("bus", error)
                self._note_lost(type(error).__name__)
            if self.counters.connects > connects:
                retry = FIRST_RETRY_SECONDS
            # With a random part, so that nodes which lost the server together do not return at the same moment.
            await asyncio.sleep(retry * random.uniform(0.5, 1))  # noqa: S311 - not a secret
            retry = min(2 * retry, LAST_RETRY_SECONDS)

    async def _serve_connections(self) -> None:
        """Receive and publish until a connection fails, and raise its error."""
        async with open_connections(self._client) as connections:
            self._on_connected(connections)
            work = [self._receive_always(connection) for connection in connections]
            tasks = [
                asyncio.create_task(each)
                for each in (
                    *work,
                    self._update_subscriptions(connections),
                    self._publish_always(connections),
                    self._ping_always(connections),
                )
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._on_disconnected()
                await cancel_and_wait(*tasks)
            for task in done:
                task.result()

    def _on_connected(self, connections: PubSubConnections) -> None:
        self._connections = connections
        self._unconfirmed = set(self._channels.values())
        for channel in self._channels.values():
            channel.reset()
            self._mark_changed(channel)

    def _on_disconnected(self) -> None:
        self._connections = None
        self._up = False
        self._changed.clear()
        for channel in tuple(self._channels.values()):
            channel.stop_waiting()
            if not channel.wanted:
                del self._channels[channel.name]

    def _note_lost(self, why: str) -> None:
        self._tried.set()
        if self._lost_at is None:
            self._lost_at = asyncio.get_running_loop().time()
            logger.warning("the bus is away: %s; until it is back, other nodes receive events late", why)

    def _note_back(self) -> None:
        """Record that all channels are subscribed."""
        self._up = True
        self._tried.set()
        self.counters.connects += 1
        if self._lost_at is not None:
            logger.info("the bus is back after %.1f seconds", asyncio.get_running_loop().time() - self._lost_at)
            self._lost_at = None
        self._report_missed(None)

    async def _update_subscriptions(self, connections: PubSubConnections) -> None:
        """Subscribe and unsubscribe as rooms gain and lose subscribers."""
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

    async def _receive_always(self, connection: PubSubConnection) -> None:
        while True:
            for _ in range(TURN):
                heard = await connection.receive()
                if isinstance(heard, tuple):
                    self._on_message(*heard)
                elif heard is not None:
                    self._confirm(heard)
            await asyncio.sleep(0)  # a burst of messages is received without a pause

    def _confirm(self, channel: Channel) -> None:
        """Record that a channel is subscribed, or that it is no longer wanted."""
        channel.stop_waiting()
        self._unconfirmed.discard(channel)
        if not self._unconfirmed and not self.is_up:
            self._note_back()
        elif channel.late:
            self._report_missed(channel.room)
        channel.late = False

    async def _publish_always(self, connections: PubSubConnections) -> None:
        while True:
            self._has_waiting.clear()
            while self._waiting:
                await self._publish(connections, self._next_batch())
            self._drained.set()
            try:
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._has_waiting.wait()
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
            # The server may have received these, so they are not sent again: an event outside a log would arrive twice.
            self.counters.published += published
            self.counters.dropped += len(batch) - published

    async def _ping_always(self, connections: PubSubConnections) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            for connection in connections:
                await connection.ping()

    def _on_message(self, channel: str, data: bytes) -> None:
        if data.startswith(self._signature):
            # This node's own message, which is already delivered.
            if data == self._measured:
                self.counters.lag.add(perf_counter() - self._measured_at)
                self._measured = None
            return
        self.counters.received += 1
        room = None if channel in (self._nodes, self._own) else channel.removeprefix(self._rooms)
        with contained("bus"):
            try:
                self._deliver(codec.unpack(data, room, is_own=channel == self._own))
            except Rejected as rejected:
                self._reject(rejected.reason, room)

    def _deliver(self, said: BusEvent | Revoked | NodeMessage) -> int:
        """Deliver a message on this node, and return how many connections received it. No message can end the bus."""
        try:
            if isinstance(said, Revoked):
                if self._on_revoked is not None:
                    self._on_revoked(said)
            elif isinstance(said, NodeMessage):
                if self._on_node_message is not None:
                    self._on_node_message(said)
            elif self._on_event is not None:
                return self._on_event(said)
        except Exception as fault:
            faults.record("bus", fault)
            if not isinstance(said, Revoked | NodeMessage) and (room := room_of(said)) is not None:
                self._report_missed(room)  # the room's log still has it
        return 0

    def _reject(self, reason: str, room: str | None) -> None:
        self.counters.rejected[reason] += 1
        now = asyncio.get_running_loop().time()
        if self._reported_at is None or now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            logger.warning(
                "the gateway cannot read messages on the bus (%s; so far: %s); is there another application with this"
                " prefix, or another version of the gateway?",
                reason,
                ", ".join(f"{name} {count}" for name, count in sorted(self.counters.rejected.items())),
            )
        if room is not None:
            self._report_missed(room)  # it may come from a newer version, and concern this node

    def _report_missed(self, room: str | None) -> None:
        if self._on_missed is not None:
            with contained("bus"):
                self._on_missed(room)
