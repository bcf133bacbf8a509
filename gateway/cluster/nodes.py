"""Knows which nodes are alive.

Each node writes Redis' time beside its name, three times in a lease. If that time stands still for a lease, other nodes
regard the node as dead. They measure the lease on their own steady clock, which counts only while they can look. So no
two clocks are ever compared: neither those of two machines, nor those of a Redis and its successor.

A node has a new name for each life. A life ends if Redis has not answered or has lost its data, or if other nodes took
this node for dead, for example after a long sleep. A new life starts by writing the whole state again. The state under
the old name is removed like that of a dead node.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

from gateway.bus.redis_commands import Command, RedisCommands, RedisUnavailable
from gateway.core import faults
from gateway.core.clock import Clock
from gateway.core.periodic import Periodic
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

ID_LENGTH = 16
BEATS = 3
"""How often a node writes its time within a lease."""
MAX_GAP = 0.6
"""The part of a lease after which a look is too late to decide which nodes are dead."""
TOMBSTONE_SECONDS = 3600
"""How long a node that has slept can learn that others took it for dead."""
MAX_UNHEARD_OF = 1000
"""How many names without a node are remembered: names that only their leftover state still has."""
REAPING_SECONDS = 30
"""How long a node that reaps another may be silent before the next node takes over."""

# Updates a node's time, if the node is listed or is to be. Returns whether it was listed, and all nodes: each with
# its time, and how many seconds ago that was.
_BEAT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local was = redis.call('ZSCORE', KEYS[1], ARGV[1])
if was or ARGV[2] == 'begin' then
  redis.call('ZADD', KEYS[1], now, ARGV[1])
end
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local found = {was and 1 or 0}
for i = 1, #all, 2 do
  found[#found + 1] = all[i]
  found[#found + 1] = all[i + 1]
  found[#found + 1] = tostring(now - all[i + 1])
end
return found
"""


@dataclass
class _Seen:
    """A node as this one sees it: its time in Redis, and when that last changed, on this node's steady clock."""

    beat: bytes
    changed_at: float
    silent_seconds: float = 0.0


Reap = Callable[[str, float], Awaitable[bool]]
"""A function that reaps a part of a dead node, silent for these seconds, and returns whether there is more."""

OnNewLife = Callable[[str, bool], None]
"""A function to call when this node gets a new name; also whether others have reported its users as offline."""


class Nodes:
    """Shows this node to the others, and watches them."""

    def __init__(self, redis: RedisCommands, prefix: str, lease_seconds: float, clock: Clock) -> None:
        self._redis = redis
        self._prefix = prefix
        self._lease = lease_seconds
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._looked_at = clock.steady()
        self._dead: set[str] = set()
        self._former: set[str] = set()  # our own former names that are not reaped yet
        self._on_new_life: OnNewLife = _nothing
        self._reap: Reap | None = None
        self._asked_for: set[str] = set()
        self._unheard_of: set[str] = set()  # looked up, and not found
        self._beats = Periodic("nodes", lease_seconds / BEATS, self.beat, expected=(RedisUnavailable,))
        self._clearing_up = Periodic("dead_nodes", None, self._reap_always)
        self.id = ""
        """The name of this life, empty before the first."""
        self.reaped = 0
        """How many dead nodes this one has reaped."""

    @asynccontextmanager
    async def running(self, on_new_life: OnNewLife, reap: Reap) -> AsyncIterator[Self]:
        """Show this node while the context lasts, as soon as Redis is available.

        The others notice the end when the lease is over. Until then, users have time to reconnect to them.
        """
        self._on_new_life, self._reap = on_new_life, reap
        with suppress(RedisUnavailable):
            await self.beat()
        async with self._beats, self._clearing_up:
            yield self

    @property
    def others(self) -> int:
        """Return how many other nodes are alive."""
        return len(self._seen.keys() - self._dead - self._former)

    def is_alive(self, id: str) -> bool:
        """Return whether a name belongs to another node that is alive.

        An unknown node may have just started, so it counts as alive, and is looked up at once.
        """
        if id == self.id or id in self._dead or id in self._former or id in self._unheard_of:
            return False
        if id not in self._seen:
            self._asked_for.add(id)
            self._beats.wake()
        return True

    async def beat(self) -> None:
        """Show this node, watch the others, and start a new life if necessary, or raise `RedisUnavailable`."""
        was_down = not self._redis.is_up
        asked_for, self._asked_for = self._asked_for, set()
        shown, tombstone = await self._redis.probe([self._show(self.id, "again"), ("EXISTS", self._tombstone(self.id))])
        if shown is None:
            raise self._redis.mark_down("another program has written to the list of nodes")
        was_there, *found = shown
        if was_down or tombstone or not was_there:
            found = await self._begin_life(told_gone=bool(tombstone))
        self._watch(found)
        self._note_unheard_of(asked_for)

    async def _begin_life(self, *, told_gone: bool) -> list[bytes]:
        """Take a new name, write the whole state again, and return the nodes."""
        new = secrets.token_hex(ID_LENGTH // 2)
        # If the answer is lost, no node lives under the new name either, and the next beat starts here again.
        self._former |= {self.id, new}
        [shown] = await self._redis.probe([self._show(new, "begin")])

        # If this fails, the next beat finds no life either, and starts here again.
        self._on_new_life(new, told_gone)
        self.id = new
        self._redis.mark_up()
        found: list[bytes] = shown[1:]
        return found

    def _show(self, id: str, how: str) -> Command:
        return ("EVAL", _BEAT, 1, f"{self._prefix}:nodes", id, how)

    def _tombstone(self, id: str) -> str:
        return f"{self._prefix}:dead:{id}"

    def _watch(self, found: list[bytes]) -> None:
        now = self._clock.steady()
        if now - self._looked_at > MAX_GAP * self._lease:
            # This node slept, or Redis did. A node without a change meanwhile gets a whole new lease.
            for seen in self._seen.values():
                seen.changed_at = now
        self._looked_at = now
        before, self._seen = self._seen, {}
        for name, beat, silent in zip(found[::3], found[1::3], found[2::3], strict=True):
            node = name.decode(errors="replace")
            if node != self.id:
                known = before.get(node)
                changed_at = known.changed_at if known is not None and known.beat == beat else now
                self._seen[node] = _Seen(beat, changed_at, float(silent))
        self._former &= self._seen.keys()
        self._dead = {node for node, seen in self._seen.items() if now - seen.changed_at >= self._lease}
        if self._dead or self._former:
            self._clearing_up.wake()

    def _note_unheard_of(self, asked_for: set[str]) -> None:
        if len(self._unheard_of) > MAX_UNHEARD_OF:
            self._unheard_of.clear()
        self._unheard_of = (self._unheard_of | asked_for) - self._seen.keys()

    async def _reap_always(self) -> None:
        """Reap the dead nodes. The next look wakes this task again for the rest."""
        for node in self._dead | self._former:
            try:
                await self._reap_node(node, self._seen[node].silent_seconds)
            except (RedisUnavailable, Unavailable, KeyError):
                break  # logged by the module that raised it
            except Exception as fault:  # of one dead node
                faults.record("dead_nodes", fault)

    async def _reap_node(self, id: str, silent_seconds: float) -> None:
        lock = f"{self._prefix}:reaping:{id}"
        # In this order: a node that reaps removes the dead node last, and releases the lock only after that.
        mine, listed = await self._redis.execute(
            [("SET", lock, self.id, "NX", "EX", REAPING_SECONDS), ("ZSCORE", f"{self._prefix}:nodes", id)]
        )
        if not mine:
            return  # another node is reaping it
        try:
            if listed is not None:
                await self._reap_locked(id, lock, silent_seconds)
        finally:
            await self._redis.execute([("DEL", lock)])

    async def _reap_locked(self, id: str, lock: str, silent_seconds: float) -> None:
        if self._reap is None:
            return
        if id not in self._former:
            logger.warning("a node has been silent for %.0f seconds and counts as dead", silent_seconds)
        await self._redis.execute([("SET", self._tombstone(id), "", "EX", TOMBSTONE_SECONDS)])
        while await self._reap(id, silent_seconds):
            await self._redis.execute([("EXPIRE", lock, REAPING_SECONDS)])
        # Last, so that a node that takes over still finds it.
        await self._redis.execute([("ZREM", f"{self._prefix}:nodes", id)])
        self.reaped += 1


def _nothing(_id: str, _told_gone: bool) -> None:
    """Ignore the new life."""
