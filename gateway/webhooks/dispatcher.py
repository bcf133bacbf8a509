"""Sends the events of one hook, while this node has its lease.

The events of a stream, which is a room or a user, go out one after the other. A stream whose event has failed waits,
and the others go on: up to `PARALLEL` at a time.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from operator import attrgetter

from gateway.core.clock import Clock, milliseconds
from gateway.core.folding import FoldedLog
from gateway.routes.model import Hook
from gateway.store import outgoing_events, webhooks
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.outgoing_events import WaitingEvent
from gateway.store.prepared import items_of
from gateway.webhooks.delivery import PARALLEL, Delivery, Event
from gateway.webhooks.settling import AGAIN_SECONDS, LeaseLost, Settling
from gateway.webhooks.unseen import UnseenMessages

logger = logging.getLogger(__name__)

LINES_A_MINUTE = 5
"""How often the log gets the same reason why deliveries fail."""

BATCH = 500
"""Events to read at a time."""

BATCH_CHARACTERS = 4 * 1024 * 1024
"""The data to read at a time, unless a single event has more."""

POLL_SECONDS = 1.0
"""How often to look for events that another node has stored, or that have become due."""

Streams = dict[str, list[tuple[WaitingEvent, str]]]
"""Events with their data, by their streams."""


class HookDisabled(Exception):
    """The receiver has answered 410: it wants no more events."""


@dataclass(slots=True)
class Counts:
    """What a hook's events have come to, since the start of this process."""

    delivered: int = 0
    failed: int = 0
    parked: int = 0


class Dispatcher:
    """Sends the events of one hook."""

    def __init__(
        self,
        hook: Hook,
        delivery: Delivery,
        settling: Settling,
        database: Database,
        clock: Clock,
        unseen: UnseenMessages,
        seconds_left: Callable[[], float],
        counts: Counts,
        on_delivered: Callable[[], None],
    ) -> None:
        """`seconds_left` returns how long this node may still send."""
        self._hook = hook
        self._delivery = delivery
        self._settling = settling
        self._database = database
        self._clock = clock
        self._unseen = unseen
        self._seconds_left = seconds_left
        self._counts = counts
        self._on_delivered = on_delivered
        self._log = FoldedLog(logger, logging.WARNING, same=LINES_A_MINUTE)
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(PARALLEL)
        self._sending: set[str] = set()

    def wake(self) -> None:
        """Look for events now."""
        self._woken.set()

    async def run(self) -> None:
        """Send events, until the lease is lost or the receiver wants no more."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_lease())
                group.create_task(self._settling.run())
                await self._send_all(group)
        except* (LeaseLost, HookDisabled, StoreUnavailable):
            pass  # the next look begins again, if it may
        finally:
            await self._delivery.close()

    async def _watch_lease(self) -> None:
        while (left := self._seconds_left()) > 0:  # noqa: ASYNC110 - no event ends it, but the time
            await asyncio.sleep(left)
        raise LeaseLost

    async def _send_all(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._woken.clear()
            try:
                found = await self._find()
            except StoreUnavailable:  # logged by the store
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            for stream, events in found.items():
                await self._slots.acquire()
                self._sending.add(stream)
                group.create_task(self._send_stream(stream, events))
            if not found:
                await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()

    async def _find(self) -> Streams:
        """Return due events by their streams, each with its data."""
        while due := await self._due():
            ready, later = in_order(due)
            self._settling.add_later(later)
            if ready:
                return await self._with_data(ready)
            if not later:
                break
            await self._settling.flush()  # or they would be found again
        return {}

    async def _due(self) -> list[WaitingEvent]:
        """Read some due events, without those of streams that are being sent."""
        rows = await self._database.fetch_long(
            outgoing_events.NEXT,
            webhook=self._hook.name,
            now=milliseconds(self._clock),
            most=BATCH,
            items=items_of(self._sending),
        )
        return outgoing_events.from_rows(rows)

    async def _with_data(self, events: list[WaitingEvent]) -> Streams:
        """Read the data of the first events, up to a size."""
        sizes = accumulate((event.size for event in events), initial=0)
        some = [event for event, before in zip(events, sizes, strict=False) if before < BATCH_CHARACTERS]
        rows = await self._database.fetch_long(outgoing_events.DATA, items=items_of(event.id for event in some))
        data = {row["id"]: row["data"] for row in rows}
        streams: Streams = {}
        for event in some:
            if event.id in data:
                streams.setdefault(event.stream, []).append((event, data[event.id]))
        return streams

    async def _send_stream(self, stream: str, events: list[tuple[WaitingEvent, str]]) -> None:
        """Send events one after the other, up to the first failure, and store what has come of them."""
        try:
            try:
                for event, data in events:
                    if not await self._send(event, data):
                        break
            finally:
                self._slots.release()
            await self._settling.flush()  # until then, they would be found again
        finally:
            self._sending.discard(stream)
            self.wake()

    async def _send(self, event: WaitingEvent, data: str) -> bool:
        """Send an event, or make it, and return whether the next one of its stream may follow."""
        if event.offset is not None:
            await self._make(event, data)
            return True
        if self._seconds_left() <= 0:
            raise LeaseLost
        about = event.stream.partition(":")[2]
        outcome = await self._delivery.send(
            Event(event.event_id, event.type, about, data, event.created_at, event.trace)
        )
        if outcome.result == "gone":
            await self._disable(outcome.reason)
        if outcome.result == "delivered":
            self._counts.delivered += 1
            self._on_delivered()
            self._settling.add_delivered(event)
            return True
        self._counts.failed += 1
        self._counts.parked += self._settling.add_failed(event, outcome.reason)
        self._log.log("the hook %s: a delivery failed: %s", self._hook.name, outcome.reason)
        return False

    async def _make(self, event: WaitingEvent, data: str) -> None:
        """Put the events of a message that is unread in its place."""
        while True:
            try:
                if not await self._unseen.make(event, data):
                    raise LeaseLost
            except StoreUnavailable:  # logged by the store
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _disable(self, reason: str) -> None:
        now = milliseconds(self._clock)
        note = partial(webhooks.note_failure, name=self._hook.name, error=reason, now=now, disables=True)
        await self._database.transact(note)
        raise HookDisabled


def in_order(due: list[WaitingEvent]) -> tuple[list[WaitingEvent], list[tuple[WaitingEvent, int]]]:
    """Return the events that may be sent now, and those that must wait for an earlier one of their stream until a time.

    An event may go out if it is the first of its stream, or follows one that goes out too.
    """
    ready: list[WaitingEvent] = []
    later: list[tuple[WaitingEvent, int]] = []
    last: dict[str, int] = {}
    waits: dict[str, int] = {}
    for event in sorted(due, key=attrgetter("id")):
        if event.stream not in waits and event.previous_id in {None, last.get(event.stream)}:
            ready.append(event)
            last[event.stream] = event.id
            continue
        until = waits[event.stream] = max(waits.get(event.stream, 0), event.previous_due_at or 0)
        if event.due_at < until:
            later.append((event, until))
    return ready, later
