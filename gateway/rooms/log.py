"""The log of each room: messages in order, durable before they are acknowledged.

One writer commits all waiting messages in one transaction. While it waits for the disk, the next batch collects. So the
more there is to write, the less each message costs, and a single message never waits for others.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Self, TypeVar

from gateway.bus.base import Bus
from gateway.core import faults
from gateway.core.clock import Clock, milliseconds
from gateway.core.faults import contained
from gateway.core.histograms import SIZES, Histogram
from gateway.rooms import changes
from gateway.rooms.batch import Change, Deferred
from gateway.rooms.changes import NO_LIMITS, Limits
from gateway.rooms.events import departure_events, grown_event, joined_event, written_event
from gateway.rooms.growth import Grown
from gateway.rooms.membership_changes import Departure, Entered
from gateway.rooms.message_changes import Written
from gateway.rooms.outgoing import OutgoingEvents
from gateway.store.engine import Database, StoreUnavailable
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

MAX_BATCH = 500
"""Changes in one transaction. 500 rows take a few milliseconds, and a reply should not wait for longer."""

Result = TypeVar("Result")

OnDoubt = Callable[[str], None]
"""A function to call with a room that the store may know more of than this node."""

Waiting = tuple[Change[Any], asyncio.Future[Any], float]
"""A change, its outcome, and when it came, on the performance counter."""


@dataclass(slots=True)
class LogFigures:
    """The numbers of the log for the metrics."""

    batches: Histogram = field(default_factory=lambda: Histogram(SIZES))
    """How many changes were in a transaction."""
    waited: Histogram = field(default_factory=Histogram)
    """How long a change waited for its transaction."""
    took: Histogram = field(default_factory=Histogram)
    """How long a transaction took, up to the disk."""
    turned_away: int = 0
    """Changes that were refused because too many waited."""


class Log:
    """Writes to rooms: first the commit, then the replies and the bus, in the order of offsets."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        clock: Clock,
        max_waiting: int,
        limits: Limits = NO_LIMITS,
        on_doubt: OnDoubt | None = None,
        outgoing: OutgoingEvents | None = None,
    ) -> None:
        """Call `on_doubt` with each room whose changes may have been made, although the store has not said so."""
        self._database = database
        self._bus = bus
        self._clock = clock
        self._max_waiting = max_waiting
        self._limits = limits
        self._on_doubt = on_doubt
        self._outgoing = outgoing
        self.figures = LogFigures()
        self._waiting: deque[Waiting] = deque()
        self._more = asyncio.Event()
        self._is_open = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Write changes while the context lasts, and the waiting ones at its end."""
        self._is_open = True
        writer = asyncio.create_task(self._write())
        try:
            yield self
        finally:
            self._is_open = False
            self._more.set()
            await writer

    @property
    def waiting(self) -> int:
        """Return how many changes wait to be written."""
        return len(self._waiting)

    async def append(self, change: Change[Result]) -> Result:
        """Make a change, and return its result once it is durable.

        Raise the reason of a refusal, or `Unavailable` if the store does not answer or too many changes wait.
        """
        return await self.submit(change)

    def submit(self, change: Change[Result]) -> "asyncio.Future[Result]":
        """Do what `append` does, and return a future in place of the result: the order of calls is that of the log.

        Raise `Unavailable` if too many changes wait.
        """
        if not self._is_open or len(self._waiting) >= self._max_waiting:
            self.figures.turned_away += 1
            # At once: a client that learns of it now can try another node. Waiting would only make the queue longer.
            raise StoreUnavailable("store")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future, perf_counter()))
        self._more.set()
        return future

    async def _write(self) -> None:
        while self._is_open or self._waiting:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                await self._commit_some([self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))])

    async def _commit_some(self, batch: list[Waiting]) -> None:
        try:
            await self._commit(batch)
        except Exception as fault:  # the writer must survive it, and no sender may wait for ever
            faults.record("writes", fault)
            for _, future, _ in batch:
                _settle(future, fault)

    async def _commit(self, batch: list[Waiting]) -> None:
        wanted = [change for change, _, _ in batch]
        self._note_begin(batch)
        try:
            script = changes.apply(wanted, milliseconds(self._clock), self._limits, self._outgoing)
            began = perf_counter()
            outcomes = await self._database.run_script(script)
            self.figures.took.add(perf_counter() - began)
        except Unavailable:
            self._report_doubt({change.room for change in wanted})
            for _, future, _ in batch:
                _settle(future, StoreUnavailable("store"))
        except Exception as error:  # the writer must survive any effect of one change on a transaction
            await self._commit_apart(batch, error)
        else:
            # Events first: the sender's own waits for its reply then, and both go out in one write.
            for outcome in outcomes:
                await self._publish(outcome)
            deferred = []
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Deferred):
                    deferred.append(waiting)
                else:
                    _settle(waiting[1], outcome)
            self._waiting.extendleft(reversed(deferred))
            if self._outgoing is not None:
                self._outgoing.committed()

    def _note_begin(self, batch: list[Waiting]) -> None:
        now, waited = perf_counter(), self.figures.waited
        self.figures.batches.add(len(batch))
        for _, _, came in batch:
            waited.add(now - came)

    def _report_doubt(self, rooms: set[str]) -> None:
        if self._on_doubt is not None:
            for room in rooms:
                self._on_doubt(room)

    async def _publish(self, outcome: object) -> None:
        """Publish what a change has done, even if the client that wanted it is gone. No reply is sent before that."""
        try:
            match outcome:
                case Written():
                    # Also an unchanged message: the writer that stored it may have failed before it published. The hub
                    # knows what it has delivered already.
                    await self._bus.publish(written_event(outcome))
                case Grown(is_changed=True):
                    await self._bus.publish(grown_event(outcome))
                case Entered(is_new=True):
                    outcome.heard = await self._bus.publish(joined_event(outcome))
                case Departure():
                    for event in departure_events(outcome):
                        outcome.heard += await self._bus.publish(event)
        except Exception as fault:  # the change is stored, and the writer must continue
            faults.record("writes", fault)

    async def _commit_apart(self, batch: list[Waiting], error: Exception) -> None:
        """Commit each change on its own, so that the one that broke the transaction stops no other."""
        if len(batch) == 1:
            faults.record("writes", error)
            _settle(batch[0][1], error)
            return
        logger.warning("a batch of %d changes failed and is written one by one: %r", len(batch), type(error))
        for waiting in batch:
            await self._commit([waiting])


def _settle(future: "asyncio.Future[Any]", outcome: object) -> None:
    if future.done():
        return  # the caller is gone, and what is written stays written
    with contained("writes"):
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
