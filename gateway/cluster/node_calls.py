"""Questions from one node to another, or to all, and their answers, over the bus.

    async def count(_: dict[str, Any]) -> dict[str, Any]:
        return {"connections": connections.count}

    node_calls.serve("connections.count", count)
    answers = await node_calls.ask_all("connections.count", {})  # by the node's id

An answer may have parts, which come before it. They are numbered, and the answer has their number: if one is lost, the
question fails.

Each node tells the others that it lives, three times in a lease, and when it ends. So a question to a node that is gone
fails at once, and one to a node that has just died fails at its deadline. Nothing waits longer, and nothing is sent
twice. An answer belongs to a question only if the number, the name and the node fit.

In one process without a shared bus, the only node is this one.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Self

from gateway.bus.base import MAX_NODE_SECONDS, Bus, MessageTooLong, NodeMessage, NodeMessageKind
from gateway.core import faults
from gateway.core.clock import Clock
from gateway.core.faults import contained
from gateway.core.periodic import Periodic
from gateway.core.tasks import cancel_and_wait

BEATS = 3
"""How often a node says within a lease that it lives."""
RETRY_SECONDS = 0.5
"""How soon it says so again if the bus was down."""
MAX_QUESTIONS = 10_000
"""Questions that may wait for an answer, and as many of other nodes that this one may work on."""
MAX_SEEN = 4096
"""Questions of other nodes that are remembered, since the bus may double a message."""
ALIVE = "node.alive"
GONE = "node.gone"
PARTS = "parts"
"""The key of an answer with the number of its parts."""

Data = dict[str, Any]
Handler = Callable[[Data], Awaitable[Data]]
"""A function that answers a question. Its data and its answer are JSON objects."""
Send = Callable[[Data], None]
"""A function that sends a part of an answer, or raises `NodeFailed` or `MessageTooLong`."""
StreamHandler = Callable[[Data, Send], Awaitable[Data]]
"""A function that answers a question, and may send parts before."""
OnPart = Callable[[Data], None]
"""A function that takes a part of an answer. It never raises."""
OnNews = Callable[[str, Data], None]
"""A function that takes what another node announces: the node's id, and the data."""
OnNode = Callable[[str], None]
"""A function that takes the id of a node."""


class NodeUnavailable(Exception):
    """A node has not answered."""


class NodeTimeout(NodeUnavailable):
    """A node has not answered in time."""


class NodeFailed(NodeUnavailable):
    """A node has answered that it could not handle the question."""


class PartLost(NodeUnavailable):
    """A part of an answer has not come."""

    def __init__(self) -> None:
        super().__init__("a part of the other node's answer was lost on the bus")


@dataclass(eq=False)
class _Question:
    """A question of this node, and the nodes whose answers it waits for."""

    name: str
    waits_for: set[str]
    to_all: bool
    on_part: OnPart | None = None
    parts: int = 0
    """How many parts of the answer have come."""
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    answers: dict[str, Data] = field(default_factory=dict)
    error: NodeUnavailable | None = None

    def answer(self, node: str, answer: Data) -> None:
        """Store the answer of a node."""
        if self.on_part is not None and answer.pop(PARTS, 0) != self.parts:
            self.fail(node, PartLost())
        elif (self.to_all or node in self.waits_for) and not self.done.done():
            self.answers[node] = answer
            self._stop_waiting(node)

    def take_part(self, node: str, number: object, part: Data) -> None:
        """Pass on the part with this number. Ignore one that has come before, and fail if one is missing."""
        if node not in self.waits_for or self.on_part is None or not isinstance(number, int) or number <= self.parts:
            return
        self.parts += 1
        if number == self.parts:
            self.on_part(part)
        else:
            self.fail(node, PartLost())

    def fail(self, node: str, error: NodeUnavailable) -> None:
        """Record that a node does not answer."""
        if node in self.waits_for:
            self.error = error
            self._stop_waiting(node)

    def _stop_waiting(self, node: str) -> None:
        self.waits_for.discard(node)
        if not self.waits_for and not self.done.done():
            self.done.set_result(None)


class NodeCalls:
    """Asks other nodes, and answers their questions."""

    def __init__(self, bus: Bus, lease_seconds: float, clock: Clock) -> None:
        self._bus = bus
        self._lease = lease_seconds
        self._clock = clock
        self._handlers: dict[str, StreamHandler] = {}
        self._listeners: dict[str, OnNews] = {ALIVE: self._on_alive, GONE: self._on_gone}
        self._on_joined: list[OnNode] = []
        self._on_left: list[OnNode] = []
        self._heard_at: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._seen: dict[tuple[str, int | None], None] = {}
        self._working: dict[tuple[str, int | None], asyncio.Task[None]] = {}
        self._connects = 0
        self._beats = Periodic("node_calls", self._pause, self._beat, at_once=True)
        self._is_running = False
        bus.listen(self._on_message)

    @property
    def own_id(self) -> str:
        """Return the id of this node, as long as its process lives."""
        return self._bus.node

    @property
    def others(self) -> frozenset[str]:
        """Return the ids of the other nodes that are alive, as far as this node knows."""
        oldest = self._clock.steady() - self._lease
        return frozenset(node for node, heard_at in self._heard_at.items() if heard_at >= oldest)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Show this node to the others while the context lasts. Before the end, fail all that still waits."""
        self._is_running = True
        try:
            async with self._beats:
                yield self
        finally:
            self._is_running = False
            await cancel_and_wait(*self._working.values())
            self._send(None, "news", GONE, {})
            for question in self._questions.values():
                for node in tuple(question.waits_for):
                    question.fail(node, NodeUnavailable("this node ends"))

    def serve(self, kind: str, handler: Handler) -> None:
        """Answer the questions of a kind. What the handler raises is logged, and fails the question."""

        async def without_parts(data: Data, _: Send) -> Data:
            return await handler(data)

        self._serve(kind, without_parts)

    def serve_stream(self, kind: str, handler: StreamHandler) -> None:
        """Answer the questions of a kind as `serve` does, with parts before the answer."""

        async def with_parts(data: Data, send: Send) -> Data:
            count = 0

            def send_next(part: Data) -> None:
                nonlocal count
                count += 1
                send({"number": count, "part": part})

            return {**await handler(data, send_next), PARTS: count}

        self._serve(kind, with_parts)

    def _serve(self, kind: str, handler: StreamHandler) -> None:
        if kind in self._handlers:
            raise ValueError(f"expected one handler of {kind!r} for questions between nodes, got a second one")
        self._handlers[kind] = handler

    def listen(self, kind: str, on_news: OnNews) -> None:
        """Pass on what other nodes announce of a kind."""
        if kind in self._listeners:
            raise ValueError(f"expected one listener of {kind!r} for news between nodes, got a second one")
        self._listeners[kind] = on_news

    def watch(self, joined: OnNode, left: OnNode) -> None:
        """Call a function with the id of each other node that comes, and another for each that goes."""
        self._on_joined.append(joined)
        self._on_left.append(left)

    async def ask(self, node: str, kind: str, data: Data, seconds: float, on_part: OnPart | None = None) -> Data:
        """Return a node's answer. Its parts, if it is to have any, go to `on_part` before.

        A cancelled question cancels its handler too. Raise `NodeUnavailable` if there is no answer within these
        seconds, and at once if the bus is down or the node is gone. Raise `NodeFailed` if the handler has failed, and
        `MessageTooLong` for too much data.
        """
        if node == self.own_id:
            question = _Question(kind, {node}, to_all=False, on_part=on_part)
            question.answer(node, await self._ask_own(question, data, seconds))
            return question.answers[node]
        if not self._bus.is_up:
            raise NodeUnavailable("the bus is down, so no other node can answer")
        if node not in self.others:
            raise NodeUnavailable("there is no node with this id; it may have ended")
        question = _Question(kind, {node}, to_all=False, on_part=on_part)
        await self._wait(question, node, data, seconds)
        if node in question.answers:
            return question.answers[node]
        raise question.error or _late(kind, seconds)

    async def ask_all(self, kind: str, data: Data, seconds: float = 1.0) -> dict[str, Data]:
        """Return the answers that came in time, this node's included, by the id of the node.

        Wait no longer than for the nodes that are alive. Raise `MessageTooLong` for too much data.
        """
        others = set(self.others) if self._bus.is_up else set()
        question = _Question(kind, others | {self.own_id}, to_all=True)
        own = asyncio.create_task(self._answer_own(question, data, seconds))
        try:
            await self._wait(question, None, data, seconds)
        finally:
            await cancel_and_wait(own)
        return question.answers

    def announce(self, kind: str, data: Data) -> None:
        """Send news to all other nodes. It may be lost."""
        self._send(None, "news", kind, data)

    async def _ask_own(self, question: _Question, data: Data, seconds: float) -> Data:
        def take(part: Data) -> None:
            question.take_part(self.own_id, part["number"], part["part"])

        try:
            async with asyncio.timeout(seconds):
                return await self._handle(question.name, data, take)
        except TimeoutError:
            raise _late(question.name, seconds) from None

    async def _answer_own(self, question: _Question, data: Data, seconds: float) -> None:
        try:
            question.answer(self.own_id, await self._ask_own(question, data, seconds))
        except NodeUnavailable as error:
            question.fail(self.own_id, error)

    async def _wait(self, question: _Question, node: str | None, data: Data, seconds: float) -> None:
        """Send a question, and wait until it is answered, or for these seconds."""
        if not 0 < seconds <= MAX_NODE_SECONDS:
            raise ValueError(f"expected more than 0 and at most {MAX_NODE_SECONDS:g} seconds, got {seconds!r}")
        if len(self._questions) >= MAX_QUESTIONS:
            raise NodeUnavailable(f"{MAX_QUESTIONS} questions wait for other nodes already; try again")
        number = next(self._numbers)
        self._questions[number] = question
        try:
            others = question.waits_for - {self.own_id}
            if others and not self._send(node, "ask", question.name, data, number, seconds):
                for other in others:
                    question.fail(other, NodeUnavailable("the bus takes no messages now; try again"))
            async with asyncio.timeout(seconds):
                await question.done
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            if node is not None:
                self._send(node, "cancel", question.name, {}, number)
            raise
        finally:
            del self._questions[number]

    def _send(
        self,
        node: str | None,
        what: NodeMessageKind,
        name: str,
        data: Data,
        number: int | None = None,
        seconds: float | None = None,
    ) -> bool:
        return self._bus.send(node, NodeMessage(self.own_id, what, name, data, number, seconds))

    def _on_message(self, message: NodeMessage) -> None:
        match message.what:
            case "ask":
                self._work_on(message)
            case "cancel":
                if (task := self._working.get((message.sender, message.id))) is not None:
                    task.cancel()
            case "news":
                listener = self._listeners.get(message.name)
                if listener is not None:
                    listener(message.sender, message.data)
            case "part":
                self._take_part(message)
            case _:
                self._take_answer(message)

    def _take_part(self, message: NodeMessage) -> None:
        question = self._questions.get(message.id or 0)
        number, part = message.data.get("number"), message.data.get("part")
        if question is not None and question.name == message.name and isinstance(part, dict):
            question.take_part(message.sender, number, part)
        if question is None or isinstance(question.error, PartLost):
            # The cancellation was lost, or has crossed this part.
            self._send(message.sender, "cancel", message.name, {}, message.id)

    def _take_answer(self, message: NodeMessage) -> None:
        question = self._questions.get(message.id or 0)
        if question is None or question.name != message.name:
            return  # it is late, or it is for a node that had this id
        if message.what == "answer":
            question.answer(message.sender, message.data)
        else:
            question.fail(message.sender, _failed(message.name))

    def _work_on(self, message: NodeMessage) -> None:
        key = (message.sender, message.id)
        if key in self._seen:
            return  # the bus has doubled it
        self._seen[key] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        if not self._is_running or message.name not in self._handlers or len(self._working) >= MAX_QUESTIONS:
            self._send(message.sender, "failure", message.name, {}, message.id)
            return
        task = self._working[key] = asyncio.create_task(self._answer(message))
        task.add_done_callback(lambda _: self._working.pop(key))

    async def _answer(self, message: NodeMessage) -> None:
        what: Literal["answer", "failure"] = "failure"
        answer: Data = {}
        try:
            async with asyncio.timeout(message.seconds):
                answer = await self._handle(message.name, message.data, partial(self._send_part, message))
            what = "answer"
        except (TimeoutError, NodeFailed):
            pass
        finally:  # also if this node ends, so that the other one waits no longer
            self._reply(message, what, answer)

    def _send_part(self, message: NodeMessage, part: Data) -> None:
        if not self._send(message.sender, "part", message.name, part, message.id):
            raise NodeFailed("the bus takes no messages now")

    def _reply(self, message: NodeMessage, what: Literal["answer", "failure"], answer: Data) -> None:
        try:
            self._send(message.sender, what, message.name, answer, message.id)
        except (TypeError, MessageTooLong) as fault:  # the handler's answer is no JSON, or too long
            faults.record("node_calls", fault)
            self._send(message.sender, "failure", message.name, {}, message.id)

    async def _handle(self, kind: str, data: Data, send: Send) -> Data:
        handler = self._handlers.get(kind)
        if handler is None:
            raise NodeFailed(f"this node does not serve {kind!r}")
        try:
            return await handler(data, send)
        except NodeFailed:
            raise
        except Exception as fault:
            faults.record("node_calls", fault)
            raise _failed(kind) from fault

    def _pause(self) -> float:
        is_told = self._bus.is_up and self._connects == self._bus.counters.connects
        return self._lease / BEATS if is_told or not self._bus.is_shared else min(RETRY_SECONDS, self._lease / BEATS)

    async def _beat(self) -> None:
        """Say that this node lives, and forget the nodes that have not said so for a lease."""
        connects = self._bus.counters.connects
        if self._send(None, "news", ALIVE, {}):
            self._connects = connects
        alive = self.others
        for node in self._heard_at.keys() - alive:
            self._on_gone(node, {})

    def _on_alive(self, node: str, _: Data) -> None:
        is_new = node not in self._heard_at
        self._heard_at[node] = self._clock.steady()
        if is_new:
            self._beats.wake()  # so that it hears of this one
            _tell(self._on_joined, node)

    def _on_gone(self, node: str, _: Data) -> None:
        if self._heard_at.pop(node, None) is None:
            return
        for question in self._questions.values():
            question.fail(node, NodeUnavailable("the node has ended"))
        for (asking, _number), task in self._working.items():
            if asking == node:
                task.cancel()
        _tell(self._on_left, node)


def _tell(watchers: Iterable[OnNode], node: str) -> None:
    for watcher in watchers:
        with contained("node_calls"):
            watcher(node)


def _late(kind: str, seconds: float) -> NodeTimeout:
    return NodeTimeout(f"expected an answer to {kind!r} within {seconds:g} seconds, got none")


def _failed(kind: str) -> NodeFailed:
    return NodeFailed(f"the node failed to answer {kind!r}; its log says why")
