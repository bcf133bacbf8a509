"""The workers of all nodes: which of them gets a message.

A message goes to the least busy worker of this node, or else to another node whose workers have a free place. If all
are busy, it waits for the first place, at most until its deadline. If no worker serves its route, it fails at once.

Each node tells the others how many messages its workers take at a time, whenever that changes and three times in a
lease. Only the asking node knows how many of them it uses. So several nodes may ask one node for the same place; the
message then waits there.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import orjson
from pydantic import TypeAdapter

from gateway.bus.base import MAX_NODE_MESSAGE_BYTES, MAX_NODE_SECONDS, MessageTooLong
from gateway.cluster.node_calls import NodeCalls, NodeTimeout, NodeUnavailable, Send
from gateway.core.periodic import Periodic
from gateway.core.tasks import cancel_and_wait
from gateway.core.trace_context import from_message
from gateway.routes.model import Route
from gateway.upstream.deadlines import Deadlines, now
from gateway.upstream.open_message import OpenMessage, Parts
from gateway.upstream.streams import LastPart, Part
from gateway.upstream.worker import Peer, Worker
from handlers.errors import UpstreamFailed, UpstreamTimeout

CALL = "workers.call"
CAPACITY = "workers.capacity"
ANNOUNCEMENTS = 3
"""How often a node says within a lease what its workers take."""
MANY_BYTES = MAX_NODE_MESSAGE_BYTES // 2
"""How many bytes of chunks go to another node in one message, unless a single chunk has more."""
MAX_ANNOUNCED = 1000
"""Pairs of a route and a service in one announcement."""

Key: TypeAlias = tuple[str, str | None]
"""The pattern of a route, and the only service that may serve it, if the route names one."""

_CAPACITY: TypeAdapter[list[tuple[str, str, int]]] = TypeAdapter(list[tuple[str, str, int]])


@dataclass(frozen=True)
class WorkerFigures:
    """The numbers of this node's workers for the metrics."""

    connections: int
    """Connections that serve at least one route."""
    parallel: int
    """How many messages they take at a time."""
    busy: int
    """How many they have."""
    waiting: int
    """Messages that wait for a free place."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for a worker."""

    body: bytes
    """The JSON that an HTTP service would get as its body."""
    id: str
    """The id that an HTTP service would get as `webhook-id`."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """The headers of W3C Trace Context that it would get."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message that a worker has got."""

    worker: Worker
    message: OpenMessage


class _NoneThere(Exception):
    """Another node has no worker for a message any more."""


class _Waiting:
    """A message that waits for a free place."""

    __slots__ = ("message", "sent")

    def __init__(self, message: Outgoing) -> None:
        self.message = message
        self.sent: asyncio.Future[_Sent | None] = asyncio.get_running_loop().create_future()


@dataclass(frozen=True)
class WorkerTransport:
    """Carries the messages of one route to its workers."""

    workers: "Workers"
    route: Route

    def stream(
        self, body: bytes, message_id: str, trace: Mapping[str, str], deadlines: Deadlines
    ) -> AsyncGenerator[Part, None]:
        """Yield the chunks and the JSON of a worker's answer, or raise `UpstreamTimeout` or `UpstreamFailed`."""
        key = self.route.pattern, self.route.service
        return self.workers.stream(key, Outgoing(body, message_id, trace), deadlines)

    async def close(self) -> None:
        """Do nothing: the workers stay, and serve what routes there are."""


class Workers:
    """Knows the workers of this node, and what those of other nodes take."""

    def __init__(self, node_calls: NodeCalls, lease_seconds: float) -> None:
        self._node_calls = node_calls
        self._local: dict[Key, dict[Worker, None]] = {}
        """The workers of each route, the one that was used last at the end."""
        self._serving: set[Worker] = set()
        self._remote: dict[str, Counter[Key]] = {}
        """How many messages the workers of another node take, by the node's id."""
        self._asked: Counter[tuple[str, Key]] = Counter()
        """How many messages of this node another one has."""
        self._waiting: dict[Key, deque[_Waiting]] = {}
        self._announcing = Periodic("workers", lease_seconds / ANNOUNCEMENTS, self._announce)
        node_calls.serve_stream(CALL, self._serve_call)
        node_calls.listen(CAPACITY, self._on_capacity)
        node_calls.watch(self._on_node_joined, self._on_node_left)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Announce the workers to the other nodes while the context lasts."""
        async with self._announcing:
            yield self

    @property
    def figures(self) -> WorkerFigures:
        """Return the numbers of this node."""
        return WorkerFigures(
            connections=len(self._serving),
            parallel=sum(worker.parallel for worker in self._serving),
            busy=sum(worker.busy for worker in self._serving),
            waiting=sum(map(len, self._waiting.values())),
        )

    def transport(self, route: Route) -> WorkerTransport:
        """Return what carries the messages of a route to its workers."""
        return WorkerTransport(self, route)

    def serves(self, route: Route) -> bool:
        """Return whether a worker of any node serves a route."""
        key = (route.pattern, route.service)
        return bool(self._local.get(key)) or any(capacity[key] for capacity in self._remote.values())

    def connect(self, service: str, peer: Peer) -> Worker:
        """Return the worker of a new connection. It serves nothing yet."""
        return Worker(service, peer)

    def serve(self, worker: Worker, patterns: tuple[str, ...], parallel: int) -> None:
        """Let a worker serve these routes, and no others, with so many messages at a time."""
        self._withdraw(worker)
        worker.patterns, worker.parallel = patterns, parallel
        for key in _keys(worker):
            self._local.setdefault(key, {})[worker] = None
        if patterns:
            self._serving.add(worker)
        self._on_free(worker)
        self._announcing.wake()

    def withdraw(self, worker: Worker) -> None:
        """Send a worker no more messages. Its open ones may finish."""
        self._withdraw(worker)
        self._announcing.wake()

    def disconnect(self, worker: Worker) -> None:
        """Forget a worker that has gone away. Its open messages fail at once."""
        self.withdraw(worker)
        worker.end()

    async def stream(self, key: Key, message: Outgoing, deadlines: Deadlines) -> AsyncGenerator[Part, None]:
        """Yield the chunks and the JSON of a worker's answer, or raise `UpstreamTimeout` or `UpstreamFailed`."""
        while True:
            place = await self._place_in_time(key, message, deadlines)
            if place is None:
                raise UpstreamFailed("no worker serves this route now", was_asked=False)
            if isinstance(place, _Sent):
                parts = self._parts_of(place, deadlines)
            else:
                parts = self._ask(place, key, message, deadlines)
            with suppress(_NoneThere):
                async with aclosing(parts):
                    async for part in parts:
                        yield part
                return

    async def _place_in_time(
        self, key: Key, message: Outgoing, deadlines: Deadlines, *, is_local: bool = False
    ) -> _Sent | str | None:
        try:
            async with asyncio.timeout_at(deadlines.first):
                return await self._place(key, message, is_local=is_local)
        except TimeoutError:
            raise UpstreamTimeout("all workers were busy") from None

    async def _parts_of(self, sent: _Sent, deadlines: Deadlines) -> AsyncGenerator[Part, None]:
        try:
            async with aclosing(sent.worker.parts_of(sent.message, deadlines)) as parts:
                async for part in parts:
                    yield part
        finally:
            self._on_free(sent.worker)

    async def _ask(self, node: str, key: Key, message: Outgoing, deadlines: Deadlines) -> AsyncGenerator[Part, None]:
        """Yield the parts of the answer of another node's worker, or raise `_NoneThere` if it has none any more."""
        parts = Parts()
        asking = asyncio.create_task(self._fill(parts, node, key, message, deadlines))
        deadline, part = deadlines.first, None
        try:
            while not isinstance(part, LastPart):
                part = await parts.next(deadline)
                yield part
                deadline = deadlines.after_a_part()
        finally:
            try:
                await cancel_and_wait(asking)
            finally:  # also if this is cancelled twice
                self._asked[node, key] -= 1
                if not self._asked[node, key]:
                    del self._asked[node, key]
                self._wake(key, 1)

    async def _fill(self, parts: Parts, node: str, key: Key, message: Outgoing, deadlines: Deadlines) -> None:
        """Ask another node, and put what it answers into `parts`."""
        began = now()
        data = {
            "route": key[0],
            "service": key[1],
            "id": message.id,
            "trace": dict(message.trace),
            "body": orjson.Fragment(message.body),
            "seconds": max(0.001, deadlines.first - began),
            "silence": min(MAX_NODE_SECONDS, deadlines.silence),
        }
        most = max(0.001, min(MAX_NODE_SECONDS, deadlines.end - began))

        def take(part: dict[str, Any]) -> None:
            for chunk in part["chunks"]:
                if not parts.is_done and not parts.take_chunk(chunk, len(orjson.dumps(chunk))):
                    parts.fail(UpstreamFailed("the chunks of the worker came faster than they could be sent on"))

        try:
            found = await self._node_calls.ask(node, CALL, data, most, take)
        except NodeTimeout as error:
            parts.fail(UpstreamTimeout(str(error)))
        except (NodeUnavailable, MessageTooLong) as error:
            parts.fail(UpstreamFailed(str(error)))
        else:
            if "answer" in found:
                parts.take_answer(orjson.dumps(found["answer"]))
            elif "failed" in found:
                parts.fail((UpstreamTimeout if found.get("late") else UpstreamFailed)(str(found["failed"])))
            else:
                self._remote.get(node, Counter()).pop(key, None)
                parts.fail(_NoneThere())

    async def _serve_call(self, data: dict[str, Any], send: Send) -> dict[str, Any]:
        """Pass a message of another node to a worker of this one, and the parts of its answer back."""
        deadlines = Deadlines(now() + data["seconds"], data.get("silence", math.inf))
        # An older node sends no trace.
        message = Outgoing(orjson.dumps(data["body"]), data["id"], from_message(data.get("trace")))
        try:
            sent = await self._place_in_time((data["route"], data["service"]), message, deadlines, is_local=True)
            if not isinstance(sent, _Sent):
                return {"none": True}
            async with aclosing(self._parts_of(sent, deadlines)) as parts:
                async for part in parts:
                    if isinstance(part, LastPart):
                        return {"answer": orjson.Fragment(part.body)}
                    if "silence" not in data:
                        return {"failed": "the asking node is older, and takes no chunks"}
                    # Those that wait go in the same message: the bus is for all.
                    send({"chunks": [part, *sent.message.chunks_nowait(MANY_BYTES - sent.message.last_size)]})
        except UpstreamFailed as error:
            return {"failed": error.reason}
        except UpstreamTimeout as error:
            return {"failed": error.reason, "late": True}
        raise AssertionError("a worker's answer has an end")

    async def _place(self, key: Key, message: Outgoing, *, is_local: bool = False) -> _Sent | str | None:
        """Send a message to a worker, or return a node with a place for it, which is taken.

        Wait while all are busy. Return None if nothing serves the route.
        """
        may_try = not self._waiting.get(key)  # others that wait come first
        while True:
            if may_try and (worker := self._free_worker(key)) is not None:
                return _Sent(worker, worker.send(message.body, message.id, message.trace))
            if may_try and not is_local and (node := self._free_node(key)) is not None:
                if node not in self._node_calls.others:  # its announcement came after its end
                    self._on_node_left(node)
                    continue
                self._asked[node, key] += 1
                return node
            if not self._local.get(key) and (is_local or not any(capacity[key] for capacity in self._remote.values())):
                return None
            sent = await self._wait(key, message)
            if sent is not None:
                return sent
            may_try = True

    def _free_worker(self, key: Key) -> Worker | None:
        workers = self._local.get(key)
        free = [worker for worker in workers if worker.is_free] if workers else []
        if not workers or not free:
            return None
        now = asyncio.get_running_loop().time()
        found = free[0] if len(free) == 1 else min(free, key=lambda worker: worker.load(now))
        workers[found] = workers.pop(found)  # so that workers with as much to do take turns
        return found

    def _free_node(self, key: Key) -> str | None:
        used = {
            node: self._asked[node, key] / capacity[key] for node, capacity in self._remote.items() if capacity[key]
        }
        found = min(used, key=used.__getitem__, default=None)
        if found is None or used[found] >= 1:
            return None
        self._remote[found] = self._remote.pop(found)  # as with workers
        return found

    async def _wait(self, key: Key, message: Outgoing) -> _Sent | None:
        """Wait until a worker has got the message, or return None when something has changed."""
        waiting = self._waiting.setdefault(key, deque())
        place = _Waiting(message)
        waiting.append(place)
        try:
            return await place.sent
        except asyncio.CancelledError:
            if place.sent.cancelled():
                with suppress(ValueError):  # another one may have just removed it
                    waiting.remove(place)
            elif (sent := place.sent.result()) is not None:
                sent.worker.cancel(sent.message)
                sent.worker.close(sent.message)
                self._on_free(sent.worker)
            else:
                self._wake(key, 1)
            raise
        finally:
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def _on_free(self, worker: Worker) -> None:
        """Send a worker the messages that wait, as many as it has places for."""
        while self._waiting and worker.is_free and (waiting := self._next_waiting(worker)) is not None:
            place = waiting.popleft()
            if not place.sent.done():  # it may have been cancelled a moment ago
                message = place.message
                place.sent.set_result(_Sent(worker, worker.send(message.body, message.id, message.trace)))
        if not worker.busy:
            worker.on_idle()

    def _next_waiting(self, worker: Worker) -> deque[_Waiting] | None:
        """Return the messages that wait for a worker, or None. Its routes take turns."""
        keys = _keys(worker)
        for turn in range(worker.turn, worker.turn + len(keys)):
            if waiting := self._waiting.get(keys[turn % len(keys)]):
                worker.turn = turn + 1
                return waiting
        return None

    def _wake(self, key: Key, most: int | None = None) -> None:
        """Let messages that wait look again: the first ones, or all."""
        waiting = self._waiting.get(key, deque())
        left = len(waiting) if most is None else most
        while waiting and left:
            place = waiting.popleft()
            if not place.sent.done():
                place.sent.set_result(None)
                left -= 1

    def _withdraw(self, worker: Worker) -> None:
        keys = _keys(worker)
        worker.patterns = ()
        self._serving.discard(worker)
        for key in keys:
            workers = self._local[key]
            del workers[worker]
            if not workers:
                del self._local[key]
            self._wake(key)

    async def _announce(self) -> None:
        capacity: Counter[tuple[str, str]] = Counter()
        for worker in self._serving:
            for pattern in worker.patterns:
                capacity[pattern, worker.service] += worker.parallel
        said = [(pattern, service, most) for (pattern, service), most in capacity.most_common(MAX_ANNOUNCED)]
        self._node_calls.announce(CAPACITY, {"workers": said})

    def _on_capacity(self, node: str, data: dict[str, Any]) -> None:
        capacity: Counter[Key] = Counter()
        for pattern, service, most in _CAPACITY.validate_python(data["workers"]):
            capacity[pattern, service] += most
            capacity[pattern, None] += most
        changed = capacity.keys() | self._remote.get(node, Counter()).keys()
        self._remote[node] = capacity
        for key in changed:
            self._wake(key)

    def _on_node_joined(self, _: str) -> None:
        self._announcing.wake()

    def _on_node_left(self, node: str) -> None:
        for key in self._remote.pop(node, Counter()):
            self._wake(key)


def _keys(worker: Worker) -> list[Key]:
    """Return the keys of the routes that a worker serves, with and without the name of its service."""
    return [(pattern, service) for pattern in worker.patterns for service in (worker.service, None)]
