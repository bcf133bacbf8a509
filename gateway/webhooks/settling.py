"""Stores what has come of deliveries: many in one transaction.

While one transaction is on its way, the next outcomes gather. A stream goes on with its next event meanwhile, so a
crash may lead to a few more repeats, and to no loss.
"""

import asyncio
from dataclasses import dataclass, field

from gateway.core.clock import Clock, milliseconds
from gateway.store import outgoing_events
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.outgoing_events import Failure, WaitingEvent
from gateway.store.prepared import Script
from gateway.webhooks.backoff import delay_after

AGAIN_SECONDS = 1.0
"""How long to wait if the store does not answer."""


class LeaseLost(Exception):
    """Another node sends the events of this hook by now, or may do so at any moment."""


@dataclass(slots=True)
class _Outcomes:
    """Outcomes that wait for the same transaction, and a future of its end."""

    delivered: list[WaitingEvent] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    later: list[tuple[WaitingEvent, int]] = field(default_factory=list)
    error: str | None = None
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to store."""
        return not (self.delivered or self.failed or self.later)


class Settling:
    """Stores the outcomes of one hook, in the order in which they come."""

    def __init__(self, webhook: str, owner: str, database: Database, clock: Clock) -> None:
        self._webhook = webhook
        self._owner = owner
        self._database = database
        self._clock = clock
        self._next = _Outcomes()
        self._storing: _Outcomes | None = None
        self._more = asyncio.Event()

    def add_delivered(self, event: WaitingEvent) -> None:
        """Let the next transaction remove an event that its receiver has."""
        self._next.delivered.append(event)
        self._more.set()

    def add_failed(self, event: WaitingEvent, reason: str) -> bool:
        """Let the next transaction note a failure, and return whether this parks the event."""
        now = milliseconds(self._clock)
        delay = delay_after(event.attempts + 1)
        failure = Failure(event, now, now) if delay is None else Failure(event, now + round(1000 * delay))
        self._next.failed.append(failure)
        self._next.error = reason
        self._more.set()
        return delay is None

    def add_later(self, events: list[tuple[WaitingEvent, int]]) -> None:
        """Let events wait, each until a time, because of the ones before them."""
        self._next.later += events
        self._more.set()

    async def flush(self) -> None:
        """Return when all that was added is stored."""
        last = self._storing if self._next.is_empty else self._next
        if last is not None:
            await asyncio.shield(last.done)

    async def run(self) -> None:
        """Store outcomes for ever. Raise `LeaseLost` if another node sends this hook's events by now."""
        while True:
            await self._more.wait()
            self._more.clear()
            self._storing, self._next = self._next, _Outcomes()
            await self._store(self._storing)
            self._storing.done.set_result(None)
            self._storing = None

    async def _store(self, outcomes: _Outcomes) -> None:
        while True:
            try:
                if not await self._database.run_script(self._script(outcomes)):
                    raise LeaseLost
            except StoreUnavailable:  # logged by the store
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    def _script(self, outcomes: _Outcomes) -> Script[bool]:
        return outgoing_events.settle(
            self._webhook,
            self._owner,
            delivered=outcomes.delivered,
            failed=outcomes.failed,
            later=outcomes.later,
            error=outcomes.error,
            now=milliseconds(self._clock),
        )
