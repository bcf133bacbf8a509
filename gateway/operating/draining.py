"""`gateway drain`: a node takes no newcomers, and its clients go to other nodes one after the other.

The process stays until it is stopped, and `--undo` lets it take newcomers again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from pydantic import Field

from gateway.cluster.node_calls import NodeCalls
from gateway.connections.registry import Connections
from gateway.core.audit import Audit
from gateway.core.faults import contained
from gateway.core.local_socket import Data
from gateway.core.tasks import cancel_and_wait
from gateway.operating.all_nodes import AllNodes, Question
from gateway.operating.asking import asked_by

MAX_SECONDS = 3600


class Drain(Question):
    """The nodes to drain, by id, or all without them; and in how many seconds."""

    nodes: tuple[str, ...] | None = Field(default=None, max_length=1000)
    undo: bool = False
    over: float | None = Field(default=None, ge=0, le=MAX_SECONDS)


class Draining:
    """Drains this node for an operator."""

    def __init__(self, connections: Connections, node_calls: NodeCalls, audit: Audit, all_nodes: AllNodes) -> None:
        self._connections = connections
        self._node_calls = node_calls
        self._audit = audit
        self._task: asyncio.Task[None] | None = None
        self._ends_at = 0.0
        all_nodes.serve("drain", Drain, self._answer, note=self._note)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Stop what is in progress at the end: the process drains in its own way then."""
        try:
            yield self
        finally:
            await self._stop()

    async def _answer(self, asked: Drain) -> Data:
        before = self._connections.is_draining
        if asked.nodes is not None and self._node_calls.own_id not in asked.nodes:
            return {"draining": before, "changed": False, "concerned": False}
        await (self._undo() if asked.undo else self._drain(asked.over))
        after = self._connections.is_draining
        return {
            "draining": after,
            "changed": before != after or (after and asked.over is not None),
            "concerned": True,
            "connections": self._connections.count,
            "seconds": max(0.0, self._ends_at - asyncio.get_running_loop().time()),
        }

    async def _drain(self, seconds: float | None) -> None:
        """Begin to drain. A drain in progress goes on, or gives way to one over these seconds."""
        while self._task is not None and not self._task.done():
            if seconds is None:
                return
            await self._stop()
        over = self._connections.seconds_to_leave if seconds is None else seconds
        self._ends_at = asyncio.get_running_loop().time() + over
        self._task = asyncio.create_task(self._send_away(over))
        self._connections.take_no_newcomers()

    async def _send_away(self, seconds: float) -> None:
        with contained("draining"):
            await self._connections.send_away(seconds)

    async def _undo(self) -> None:
        await self._stop()
        self._connections.take_newcomers()

    async def _stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)

    def _note(self, asked: Drain, nodes: dict[str, Data]) -> None:
        changed = [node for node, each in nodes.items() if each.get("changed")]
        self._audit.record("drain_undone" if asked.undo else "drained", asked_by(), nodes=" ".join(changed))
