"""`gateway tail`: what passes through all nodes, as it happens.

Each node sends its lines to the node that was asked, a few times a second and up to a bound. The asked process passes
them on as fast as the command reads. What does not fit is counted as lost, so a slow reader costs the gateway nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import orjson
from pydantic import Field

from gateway.cluster.node_calls import NodeCalls, NodeFailed, NodeTimeout, NodeUnavailable, Send
from gateway.core.audit import Audit
from gateway.core.clock import Clock
from gateway.core.local_socket import MAX_PART_BYTES, Data, LocalFailed, LocalSocket
from gateway.core.taps import Line, Taps, TooManyTaps, Wanted
from gateway.core.tasks import cancel_and_wait
from gateway.operating.all_nodes import ONLY_HERE, Question, parsed
from gateway.operating.asking import asked_by, user_name

KIND = "operator.tail"
MAX_WAITING = 2000
"""Lines that wait for a slow reader."""
MAX_WAITING_BYTES = MAX_PART_BYTES // 2
"""Their bytes: the reader takes all of them as one part."""
LOOK_SECONDS = 1.0
"""How often to look for nodes that have come."""
ASK_SECONDS = 3600.0
"""After so long, a node is asked again."""


class Tail(Question):
    """The lines that are wanted."""

    room: str | None = Field(default=None, max_length=64)
    user: str | None = Field(default=None, max_length=64)
    type: str | None = Field(default=None, max_length=64)
    connection: str | None = Field(default=None, max_length=64)
    bodies: bool = False

    def wanted(self) -> Wanted:
        """Return it for a tap."""
        return Wanted(self.room, self.user, self.type, self.connection, self.bodies)


class Tails:
    """Sends the lines of this node, and gathers those of all nodes."""

    def __init__(
        self, taps: Taps, local_socket: LocalSocket, node_calls: NodeCalls, audit: Audit, clock: Clock
    ) -> None:
        self._taps = taps
        self._node_calls = node_calls
        self._audit = audit
        self._clock = clock
        node_calls.serve_stream(KIND, self._send_own)
        local_socket.serve_stream("tail", self._tail)

    async def _send_own(self, data: Data, send: Send) -> Data:
        try:
            tap = self._taps.open(parsed(Tail, data).wanted())
        except (LocalFailed, TooManyTaps) as error:
            raise NodeFailed(str(error)) from None
        try:
            while True:
                lines, lost = await tap.take()
                send({"lines": lines, "lost": lost})
        finally:
            self._taps.close(tap)

    async def _tail(self, data: Data) -> AsyncGenerator[Data, None]:
        only_here = data.pop(ONLY_HERE, False) is True
        asked = parsed(Tail, data | {"by": user_name()})
        if self._taps.is_full:
            raise LocalFailed(str(TooManyTaps()))
        self._note("tail_began", asked)
        gathered = _Gathered()
        began = self._clock.steady()
        following: dict[str, asyncio.Task[None]] = {}
        try:
            yield {"nodes": [], "lines": [], "lost": 0}  # it has begun
            while True:
                nodes = {self._node_calls.own_id} if only_here else self._node_calls.others | {self._node_calls.own_id}
                for node in [node for node, task in following.items() if task.done()]:
                    del following[node]
                for node in nodes - following.keys():
                    following[node] = asyncio.create_task(self._follow(node, asked.model_dump(), gathered))
                yield {"nodes": sorted(following), **await gathered.take(LOOK_SECONDS)}
        finally:
            await cancel_and_wait(*following.values())
            seconds = round(self._clock.steady() - began)
            self._note("tail_ended", asked, seconds=seconds, lines=gathered.passed, lost=gathered.lost)

    async def _follow(self, node: str, data: Data, gathered: "_Gathered") -> None:
        """Gather the lines of a node, until it fails. Then what it has sent in between is lost."""
        while True:
            try:
                await self._node_calls.ask(node, KIND, data, ASK_SECONDS, partial(gathered.add, node))
            except NodeTimeout:
                continue
            except NodeUnavailable as error:
                gathered.add(node, {"lines": [{"what": "gap", "reason": str(error)}], "lost": 0})
                await asyncio.sleep(LOOK_SECONDS)
            return

    def _note(self, event: str, asked: Tail, **more: Any) -> None:
        self._audit.record(
            event,
            asked_by(),
            room=asked.room,
            of_user=asked.user,
            type=asked.type,
            connection=asked.connection,
            bodies="shown" if asked.bodies else "hidden",
            **more,
        )


class _Gathered:
    """The lines of all nodes that wait for the reader."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._bytes = 0
        self._lost = 0
        self._filled = asyncio.Event()
        self.passed = 0
        self.lost = 0

    def add(self, node: str, part: Data) -> None:
        """Add the lines of a node, as far as there is room. This never raises."""
        lines: Any = part.get("lines")
        lost: Any = part.get("lost")
        if isinstance(lines, list) and isinstance(lost, int):
            self._lost += lost + sum(
                not self._takes({**line, "node": node}) for line in lines if isinstance(line, dict)
            )
            self._filled.set()

    def _takes(self, line: Line) -> bool:
        """Add a line if there is room for it, and return whether there was."""
        size = len(orjson.dumps(line))
        if len(self._lines) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            return False
        self._lines.append(line)
        self._bytes += size
        return True

    async def take(self, seconds: float) -> Data:
        """Return the lines and how many were lost, after so many seconds also none."""
        try:
            async with asyncio.timeout(seconds):
                await self._filled.wait()
        except TimeoutError:
            pass
        lines, lost = self._lines, self._lost
        self._lines, self._lost, self._bytes = [], 0, 0
        self._filled.clear()
        self.passed += len(lines)
        self.lost += lost
        return {"lines": lines, "lost": lost}
