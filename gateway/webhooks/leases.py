"""Which node sends the events of a hook: the owner of its lease in the store.

The owner changes a number, the beat, every few seconds. If the number stands still for a lease, another node may take
the hook over. It measures that on its own steady clock, so no two clocks are compared: neither those of two machines,
which may differ by more than a lease, nor that of the database, which a failover may set back. A node stops by itself
before the lease is over, counted from the moment before it changed the number. So the old owner has stopped before the
next one begins, even on a network that delays or loses messages.

The owner's name is part of each change to the hook's events. A process that was stopped for longer than a lease can
thus change nothing any more. What it cannot take back is a request that was on its way.

The events wait at most `LEASE_SECONDS` and a look of the next node, if their node was killed. A node that ends in
order leaves its hooks at once. A gateway without a shared bus has no other nodes, so at its start it takes all hooks.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from gateway.core.clock import Clock
from gateway.store import webhooks
from gateway.store.engine import Database
from gateway.store.webhooks import WebhookRow

LEASE_SECONDS = 10.0
"""How long a beat stands still before another node takes the hook."""

HOLD_SECONDS = 8.0
"""How long after a beat its owner sends events."""

BEAT_SECONDS = 3.0
"""How often an owner shows that it lives."""

LOOK_SECONDS = 1.0
"""How often a node looks at all hooks."""


@dataclass(slots=True)
class _Seen:
    """A hook of another owner: its state, and when this node saw it first."""

    row: WebhookRow
    at: float


class Leases:
    """The leases of all hooks, as this node sees them."""

    def __init__(self, owner: str, database: Database, clock: Clock, *, is_alone: bool) -> None:
        """`owner` names this process. One that `is_alone` takes at its first look what another one has left."""
        self.owner = owner
        self._database = database
        self._clock = clock
        self._is_alone = is_alone
        self._seen: dict[str, _Seen] = {}
        self._held_until: dict[str, float] = {}
        self._known: set[str] = set()

    def seconds_left(self, name: str) -> float:
        """Return for how many seconds this node may still send a hook's events. It is 0 or less without a lease."""
        return self._held_until.get(name, 0.0) - self._clock.steady() if name in self._held_until else 0.0

    async def look(self, rows: Collection[WebhookRow]) -> None:
        """Keep the leases of some hooks, and take those whose owner is gone. Raise `StoreUnavailable`."""
        for row in rows:
            if row.owner == self.owner:
                await self._keep(row.name)
            else:
                await self._look_at(row)
        self._known |= {row.name for row in rows}

    async def release(self, name: str) -> None:
        """Leave a hook to other nodes. Raise `StoreUnavailable`."""
        if self._held_until.pop(name, None) is not None:
            await self._database.transact(partial(webhooks.release, name=name, owner=self.owner))

    async def _keep(self, name: str) -> None:
        # The margin is for a beat that comes a look late.
        if self.seconds_left(name) > HOLD_SECONDS - BEAT_SECONDS:
            return
        began = self._clock.steady()
        if await self._database.transact(partial(webhooks.beat, name=name, owner=self.owner)):
            self._held_until[name] = began + HOLD_SECONDS
        else:
            self._held_until.pop(name, None)

    async def _look_at(self, row: WebhookRow) -> None:
        self._held_until.pop(row.name, None)
        now = self._clock.steady()
        seen = self._seen.get(row.name)
        if seen is None or (seen.row.owner, seen.row.beat) != (row.owner, row.beat):
            seen = self._seen[row.name] = _Seen(row, now)
        is_left = row.owner == "" or (self._is_alone and row.name not in self._known)
        if (is_left or now - seen.at >= LEASE_SECONDS) and await self._database.transact(
            partial(webhooks.take, seen=row, owner=self.owner)
        ):
            self._held_until[row.name] = now + HOLD_SECONDS
