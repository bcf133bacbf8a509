"""Which nodes there are.

Each node writes Redis' own time beside its name, three times in a lease. Whoever sees that time stand still for a
lease, on a watch that runs only while it can look, takes the node for dead. So no two clocks are ever compared: not
those of machines, and not that of a Redis with that of its successor.

A node has a new name for each life. A life ends when Redis has not answered, has forgotten everything, or when others
took the node for dead, as after a long sleep. The new life begins by saying all there is to say; what the old one
said is cleared away as any dead node's.
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
"""How often a node shows itself in the time of a lease."""
MAX_GAP = 0.6
"""The part of a lease after which a look is too late to tell who is dead: with a beat before it, it is most of one."""
TOMBSTONE_SECONDS = 3600
"""For how long a node that has slept can learn that it was taken for dead."""
MAX_UNHEARD_OF = 1000
"""Names that are remembered as those of no node: they are all that is left of one."""
REAPING_SECONDS = 30
"""How long a node that clears up after another may be silent before the next one takes over."""

# Shows a node, if it is there or is to be. Gives whether it was there, and all that are: each with the time beside its
# name, and how many seconds ago that was.
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
    """A node, as this one sees it: the time beside its name, and when that last changed, on our steady clock."""

    beat: bytes
    changed_at: float
    silent_seconds: float = 0.0


Reap = Callable[[str, float], Awaitable[bool]]
"""Clears up some of what a dead node said, which has been silent for so many seconds; tells whether there is more."""

OnNewLife = Callable[[str, bool], None]
"""Takes the news that this node lives under a new name, and whether others have told that its users are gone."""


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
        self._former: set[str] = set()  # our own names that are not cleared up after yet
        self._on_new_life: OnNewLife = _nothing
        self._reap: Reap | None = None
        self._asked_for: set[str] = set()
        self._unheard_of: set[str] = set()  # have been looked for, and are no nodes
        self._beats = Periodic("nodes", lease_seconds / BEATS, self.beat, expected=(RedisUnavailable,))
        self._clearing_up = Periodic("burial", None, self._reap_always)
        self.id = ""
        """The name of this life; none before the first."""
        self.reaped = 0
        """How many dead nodes this one has cleared up after."""

    @asynccontextmanager
    async def running(self, on_new_life: OnNewLife, reap: Reap) -> AsyncIterator[Self]:
        """Live, if Redis is there; and if it is not, as soon as it is.

        The others notice the end when the lease is over: until then, users have time to come to them.
        """
        self._on_new_life, self._reap = on_new_life, reap
        with suppress(RedisUnavailable):
            await self.beat()
        async with self._beats, self._clearing_up:
            yield self

    @property
    def others(self) -> int:
        """How many other nodes are alive."""
        return len(self._seen.keys() - self._dead - self._former)

    def is_alive(self, id: str) -> bool:
        """Tell whether a name is that of another node that is alive.

        One that is not known may have just begun: it is believed, and looked for at once.
        """
        if id == self.id or id in self._dead or id in self._former or id in self._unheard_of:
            return False
        if id not in self._seen:
            self._asked_for.add(id)
            self._beats.wake()
        return True

    async def beat(self) -> None:
        """Show this node, look at the others, and begin a new life where that is due; raises `RedisUnavailable`."""
        was_down = not self._redis.is_up
        asked_for, self._asked_for = self._asked_for, set()
        shown, tombstone = await self._redis.probe([self._show(self.id, "again"), ("EXISTS", self._tombstone(self.id))])
        if shown is None:
            raise self._redis.mark_down("somebody else has written where the nodes are listed")
        was_there, *found = shown
        if was_down or tombstone or not was_there:
            found = await self._begin_life(told_gone=bool(tombstone))
        self._watch(found)
        self._note_unheard_of(asked_for)

    async def _begin_life(self, *, told_gone: bool) -> list[bytes]:
        """Take a new name and say everything again; gives who is there."""
        new = secrets.token_hex(ID_LENGTH // 2)
        # Should the answer be lost, nobody lives under the new name either, and the next beat begins from here again.
        self._former |= {self.id, new}
        [shown] = await self._redis.probe([self._show(new, "begin")])

        # If this fails, the next beat finds no life either, and begins from here again.
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
            # We slept, or Redis did: whoever did not change meanwhile is given a whole lease to do so.
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
        """Clear up after the dead. The next look wakes this again for what remains."""
        for node in self._dead | self._former:
            try:
                await self._reap_node(node, self._seen[node].silent_seconds)
            except (RedisUnavailable, Unavailable, KeyError):
                break  # logged by the module that raised it
            except Exception as fault:  # of one dead node
                faults.record("burial", fault)

    async def _reap_node(self, id: str, silent_seconds: float) -> None:
        lock = f"{self._prefix}:burial:{id}"
        # In this order: whoever clears up ends with taking the node out, and gives the lock up only then.
        mine, listed = await self._redis.execute(
            [("SET", lock, self.id, "NX", "EX", REAPING_SECONDS), ("ZSCORE", f"{self._prefix}:nodes", id)]
        )
        if not mine:
            return  # another node is at it
        try:
            if listed is not None:
                await self._reap_locked(id, lock, silent_seconds)
        finally:
            await self._redis.execute([("DEL", lock)])

    async def _reap_locked(self, id: str, lock: str, silent_seconds: float) -> None:
        if self._reap is None:
            return
        if id not in self._former:
            logger.warning("a node has been silent for %.0f seconds and is taken for dead", silent_seconds)
        await self._redis.execute([("SET", self._tombstone(id), "", "EX", TOMBSTONE_SECONDS)])
        while await self._reap(id, silent_seconds):
            await self._redis.execute([("EXPIRE", lock, REAPING_SECONDS)])
        # Only now, so that whoever takes over from us finds it.
        await self._redis.execute([("ZREM", f"{self._prefix}:nodes", id)])
        self.reaped += 1


def _nothing(_id: str, _told_gone: bool) -> None:
    """Take no news."""
