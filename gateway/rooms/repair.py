"""Repair: finds the events that the rooms of this node have missed, and reads them from the store.

A gap in a room's offsets or departures shows that the bus has lost an event. Where no event follows, only the store
can show it. So rooms are also compared with the store. If the store cannot close a gap either, the subscribers get
`resync`, which asks clients to join again.

An answer of the store counts only against what was known before the question.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Protocol, TypeVar

from gateway.bus.base import Logged, MemberLeft, RoomEnded
from gateway.connections.registry import Connections
from gateway.core import faults
from gateway.core.batches import batches
from gateway.core.faults import contained
from gateway.rooms.events import bus_event
from gateway.rooms.history_reader import Departed, Gap, HistoryReader
from gateway.rooms.memory import RoomMemory
from gateway.rooms.room import Room
from gateway.store.rooms import RoomPosition
from gateway.transport import frames
from handlers.errors import Unavailable
from schemas.events.rooms import Resync, RoomDeleted, RoomLeft

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""How long to wait before another question to a store that was not available."""

CHECK_SECONDS = 0.05
"""How long to wait before a check for missed events, and before its result counts.

A bus that returns reports many rooms at once, and the store is some milliseconds ahead of a working bus.
"""

BATCH = 200
"""Rooms in one query: a millisecond or two, which SQLite takes in the event loop."""

MAX_READING = 4
"""Gaps that are read at the same time: half of the connections to PostgreSQL. The others are for clients that wait."""

T = TypeVar("T")

Finding = tuple[str, str | None, RoomPosition | None]
"""A room's name and epoch as this node knew it before its question, and the answer of the store."""


class Delivery(Protocol):
    """The parts of the hub that a repair uses."""

    def receive_departure(self, room: Room, event: MemberLeft) -> int:
        """Remove a user's connections from the room, except those that have joined after the departure."""

    def end(self, room: Room, last: RoomEnded) -> int:
        """Remove all subscribers of a room that no longer exists."""

    def catch_up(self, room: Room) -> None:
        """Deliver the early events, up to the next gap."""


class Repair:
    """Compares rooms with the store, and brings those that are behind up to date."""

    def __init__(
        self,
        rooms: Mapping[str, Room],
        reader: HistoryReader,
        memory: RoomMemory,
        connections: Connections,
        delivery: Delivery,
    ) -> None:
        """`rooms` are those of this node, now and later."""
        self._rooms = rooms
        self._reader = reader
        self._memory = memory
        self._connections = connections
        self._delivery = delivery
        self._unchecked: set[str] = set()
        self._in_check: set[str] = set()
        self._checking: asyncio.Task[None] | None = None
        self._reading = asyncio.Semaphore(MAX_READING)
        self._gaps_read = self._resyncs = self._rooms_behind = 0

    def check_soon(self, name: str | None) -> None:
        """Check a room, or all rooms, against the store soon: their events may be lost."""
        self._unchecked.update(self._rooms if name is None else self._rooms.keys() & {name})
        if self._unchecked and self._checking is None:
            self._checking = asyncio.create_task(self._check_unchecked())

    def is_doubtful(self, name: str) -> bool:
        """Return whether a room's events may be lost, and it has not been compared with the store since then."""
        return name in self._unchecked or name in self._in_check

    async def check(self, names: Iterable[str]) -> None:
        """Compare rooms with the store, and repair those that are behind. Raise `Unavailable`."""
        behind: list[Finding] = []
        for batch in batches(names, BATCH):
            behind += await self._find_behind(batch)
            await asyncio.sleep(0)  # SQLite reads without a pause for other tasks
        if behind:
            await asyncio.sleep(CHECK_SECONDS)  # the missing events may be on their way
        for finding in behind:
            with contained("rooms"):
                self._reconcile(*finding)

    def close_gap(self, room: Room) -> None:
        """Read the events that a room has missed, unless a read is in progress."""
        if room.closing is None:
            room.closing = asyncio.create_task(self._read_gap(room))

    def end_unnoticed(self, room: Room, now: RoomPosition) -> None:
        """Remove all subscribers of a room that was replaced by one of the same name, without an event about it."""
        logger.warning("a room has been replaced without an event; its subscribers are asked to join again")
        self._resyncs += 1
        resync = Resync(room=room.name, epoch=now.epoch, offset=now.offset)
        self._delivery.end(room, RoomEnded(frames.event(resync), room.name, room.epoch or ""))

    @property
    def gaps_read(self) -> int:
        """Return how often missed events were read from the store."""
        return self._gaps_read

    @property
    def resyncs(self) -> int:
        """Return how often all subscribers of a room were asked to join again."""
        return self._resyncs

    @property
    def rooms_behind(self) -> int:
        """Return how often a comparison found a room behind the store."""
        return self._rooms_behind

    def close(self) -> None:
        """Stop checks and reads."""
        if self._checking is not None:
            self._checking.cancel()
        for room in self._rooms.values():
            if room.closing is not None:
                room.closing.cancel()

    async def _check_unchecked(self) -> None:
        try:
            while self._unchecked:
                await asyncio.sleep(CHECK_SECONDS)
                names, self._unchecked = self._unchecked, set()
                self._in_check = names
                try:
                    await self.check(names)
                except Exception as fault:  # the next check must follow in any case
                    if not isinstance(fault, Unavailable):
                        faults.record("rooms", fault)
                    self._unchecked |= names
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._checking = None
            self._in_check = set()

    async def _find_behind(self, names: Collection[str]) -> list[Finding]:
        """Read the positions of rooms, and return those that seem to be behind the store."""
        known = {}
        for name in names:
            room = self._rooms.get(name)
            if room is not None:
                # A read that is in progress, for a join or a gap, may have been too early to see this.
                room.needs_recheck = room.epoch is None or room.closing is not None
                if not room.needs_recheck:
                    known[name] = room.epoch
        found = await self._reader.positions(list(known)) if known else {}
        for name, position in found.items():
            if (room := self._rooms.get(name)) is not None and room.epoch == position.epoch:
                room.record_arrivals(position.arrivals)
        return [
            (name, epoch, found.get(name))
            for name, epoch in known.items()
            if (room := self._rooms.get(name)) is not None and (room.epoch != epoch or room.is_behind(found.get(name)))
        ]

    def _reconcile(self, name: str, epoch: str | None, found: RoomPosition | None) -> None:
        """Bring a room up to the store's position at the time of the question, unless it has reached that by itself."""
        room = self._rooms.get(name)
        if room is None:
            return
        if room.epoch != epoch:
            self.check_soon(name)  # another room than that of the question
            return
        if not room.is_behind(found):
            return
        self._rooms_behind += 1
        if found is None:
            self._end_deleted(room)
        elif found.epoch != room.epoch:
            self.end_unnoticed(room, found)
        else:
            room.needs_recheck = room.closing is not None  # the read in progress may have been too early
            self.close_gap(room)

    async def _read_gap(self, room: Room) -> None:
        epoch, position, waiting = room.epoch, room.position, len(room.early)
        if epoch is None or position is None:
            room.closing = None  # the room ended before this task began
            return
        logger.info("reading a gap of a room after offset %d", position)
        self._gaps_read += 1
        try:
            try:
                gap = await self._read(lambda: self._reader.read_gap(room.name, epoch, position))
                departed = await self._read_departed(room, gap)
            finally:
                room.closing = None
            if room.epoch == epoch:
                # What waited during the question is in the answer, or belongs to an earlier room.
                del room.early[:waiting]
                self._apply_gap(room, gap, departed)
        except Exception as fault:  # one unreadable message must not silence the room
            faults.record("rooms", fault)
            self._skip_gap(room, epoch)
        self._delivery.catch_up(room)
        if room.needs_recheck:
            self.check_soon(room.name)

    async def _read_departed(self, room: Room, gap: Gap | None) -> Departed | None:
        if gap is None or gap.room.departures <= room.departures:
            return None
        user_ids = {listener.user_id for listener in room.connections}
        return await self._read(lambda: self._reader.departed(room.name, user_ids))

    async def _read(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read from the store, and wait while it is not available."""
        while True:
            try:
                async with self._reading:
                    return await read()
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    def _apply_gap(self, room: Room, gap: Gap | None, departed: Departed | None) -> None:
        """Deliver what was read. Members that have left are removed before that."""
        if gap is None:
            self._end_deleted(room)
            return
        if gap.room.epoch != room.epoch:
            self.end_unnoticed(room, gap.room.position)
            return
        if departed is not None:
            self._apply_departed(room, departed)
        if gap.rows is None:
            self._resync(room, gap.room.epoch, gap.room.offset)
        else:
            self._fill(room, gap)

    def _apply_departed(self, room: Room, departed: Departed) -> None:
        if departed.room.epoch != room.epoch:
            self.check_soon(room.name)  # the room was replaced between the two questions
            return
        departures = departed.room.departures
        if room.joined_before(departures) <= departed.user_ids | departed.remaining:
            room.record_departures(departures)
        else:  # a user that the question leaves out has joined meanwhile, and may have left since
            self.check_soon(room.name)
        for user_id in departed.user_ids:
            name = next((listener.user for listener in self._connections.for_user(user_id)), None)
            if name is not None:
                left = frames.event(RoomLeft(room=room.name, user=name))
                event = MemberLeft(left, room.name, departed.room.epoch, user_id, departures)
                self._delivery.receive_departure(room, event)
        room.confirm_members(departed.remaining, departures)

    def _fill(self, room: Room, gap: Gap) -> None:
        top = gap.room.offset
        events = [bus_event(gap.room, row) for row in gap.rows or ()]  # all of them, or none
        for event in events:
            room.publish(event)
            self._memory.record(room, event)
            top = max(top, event.offset)
        # Later changes of the same messages have replaced what lies between the last row and the top.
        room.advance(top)
        if room.window is not None:
            room.window.advance(top)

    def _skip_gap(self, room: Room, epoch: str) -> None:
        """Continue after a gap that cannot be read, with the events since then."""
        if room.epoch == epoch and room.position is not None:
            came = [event.offset for event in room.early if event.epoch == epoch]
            self._resync(room, epoch, max(came, default=room.position))

    def _resync(self, room: Room, epoch: str, offset: int) -> None:
        logger.warning("a gap of a room cannot be closed; its subscribers are asked to join again")
        self._resyncs += 1
        resync = frames.event(Resync(room=room.name, epoch=epoch, offset=offset))
        room.publish(Logged(resync, room.name, epoch, offset))
        self._memory.forget(room)
        room.advance(offset)

    def _end_deleted(self, room: Room) -> None:
        """Remove all subscribers of a room that was deleted, without an event about it."""
        last = frames.event(RoomDeleted(room=room.name))
        self._delivery.end(room, RoomEnded(last, room.name, room.epoch or ""))
