"""What this node remembers of its rooms, so that a join or a resume asks the store nothing.

A room remembers which of the users that were here are members, how many members it has, and the newest part of its log.
The events that its listeners get keep all of this true. Where an event may be missing, the room is in doubt: then the
store answers until the room has been compared with it.

All rooms together have a limit. The room that was asked for least recently forgets first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.bus.base import Logged
from gateway.core.clock import Clock, milliseconds
from gateway.rooms.events import bus_event
from gateway.rooms.history_reader import Changes, HistoryReader
from gateway.rooms.retention import DAY_MILLISECONDS
from gateway.rooms.room import Loading, Room
from gateway.rooms.window import Window, WindowLimits
from gateway.store.rooms import RoomRow

ROOM_BYTES = 2000
"""The memory of a room besides its members and its window."""

MEMBER_BYTES = 150
"""The memory of a member's id."""


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """The most that rooms may remember."""

    window: WindowLimits
    size: int
    """Bytes of all rooms."""
    seconds: float
    """How long a room stays after its last listener has left. Many listeners that are cut off return at once."""
    days: float = 0
    """How long a message may be remembered; 0 means no limit."""


class RoomMemory:
    """Keeps what rooms remember true, and within its limits."""

    def __init__(self, reader: HistoryReader, clock: Clock, limits: MemoryLimits) -> None:
        self._reader = reader
        self._clock = clock
        self.limits = limits
        self._sizes: OrderedDict[Room, int] = OrderedDict()  # the room that was asked for least recently first
        self.size = 0
        """The bytes of all rooms."""
        self.hits = self.misses = 0
        """Joins that were answered from memory, and from the store."""

    @property
    def seconds(self) -> float:
        """Return how long a room stays after its last listener has left."""
        return self.limits.seconds

    def record(self, room: Room, event: Logged) -> None:
        """Record a change of a room's log, which its listeners get now."""
        if room.loading is not None:
            room.loading.events.append(event)
        if room.window is not None:
            if not room.window.append(event, self._now(), self.limits.window):
                room.window = None  # the next client that asks lets it be read anew
            self._count(room)

    def record_member(self, room: Room, user_id: str, departures: int) -> None:
        """Record that a user was a member after this number of departures."""
        room.members[user_id] = max(departures, room.members.get(user_id, 0))
        self.touch(room)

    def touch(self, room: Room) -> None:
        """Record that a room was asked for."""
        self._count(room)
        if room in self._sizes:
            self._sizes.move_to_end(room)

    def forget(self, room: Room) -> None:
        """Forget all of a room."""
        room.forget()
        self.size -= self._sizes.pop(room, 0)

    def window_of(self, room: Room) -> Window | None:
        """Return a room's window without the messages that are too old to be shown, if it has one."""
        if room.window is not None and self.limits.days:
            room.window.drop_before(self._now() - round(self.limits.days * DAY_MILLISECONDS))
        return room.window

    async def load(self, room: Room, row: RoomRow) -> None:
        """Read a room's window, unless it has one. `row` is the room as it was read after the node has subscribed.

        Many connections that join at once wait for the same read. Raise `Unavailable` if the store does not answer.
        """
        if room.window is not None or not self.limits.window.entries:
            return
        if room.loading is None:
            if row.offset == row.pruned:
                self._install(room, Window(row.epoch, row.offset, is_whole=True), ())
                return
            room.loading = loading = Loading()
            # In its own task: a client that vanishes must not take the read from the others, which would each read.
            loading.task = asyncio.create_task(self._read(room, row, loading, room.position or 0))
        await asyncio.shield(room.loading.done)

    async def _read(self, room: Room, row: RoomRow, loading: Loading, delivered: int) -> None:
        try:
            changes = await self._reader.newest_changes(row, self.limits.window.entries, self.limits.window.size)
            if not loading.is_void:
                window = self._window(row, changes)
                # The read is newer than what the listeners had got before it.
                window.advance(max(row.offset, delivered))
                self._install(room, window, loading.events)
        except Exception as error:  # for all that wait: each would ask for as long, and get no other answer
            loading.done.set_exception(error)
            loading.done.exception()  # all may be gone
        else:
            loading.done.set_result(None)
        finally:
            room.loading = None

    def _window(self, row: RoomRow, changes: Changes) -> Window:
        window = Window(row.epoch, changes.floor, is_whole=changes.is_whole)
        for each in changes.rows:
            window.append(bus_event(row, each), each.changed_at, self.limits.window)
        return window

    def _install(self, room: Room, window: Window, events: Sequence[Logged]) -> None:
        if not all(window.append(event, self._now(), self.limits.window) for event in events):
            return  # a message has grown that is not among those that were read
        if room.epoch in {None, window.epoch} and window.top >= (room.position or 0):
            room.window = window
            self.touch(room)

    def _now(self) -> int:
        return milliseconds(self._clock) if self.limits.days else 0

    def _count(self, room: Room) -> None:
        """Count a room's bytes, and let others forget until all are within the limit."""
        size = ROOM_BYTES + len(room.members) * MEMBER_BYTES + (0 if room.window is None else room.window.size)
        self.size += size - self._sizes.get(room, 0)
        self._sizes[room] = size
        while self.size > self.limits.size and self._sizes:
            self.forget(next(iter(self._sizes)))
