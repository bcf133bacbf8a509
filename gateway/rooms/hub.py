"""The hub: delivers the events of rooms to their subscribers on this node.

Every subscriber gets the room's log in the order of offsets, each event once. The bus may lose, double or delay events.
The offsets show it, and what is missing is read from the store. Meanwhile, later events of the room wait. If the store
cannot close the gap either, the subscribers get `resync`, which asks clients to join again.

Departures are counted too. A departure removes a subscriber only if its number is higher than the count that was read
with the membership. An event of another room with the same name decides nothing: the store says which of the two
exists. An answer of the store counts only against what was known before the question.

A connection that joins subscribes first and reads the store after that, so that nothing falls in between. Events that
arrive meanwhile are buffered for it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TypeVar

from gateway.bus.base import Bus, BusEvent, Logged, MemberLeft, RoomEnded, RoomEvent, ToAll, ToRoom, ToUser
from gateway.connections.fanout import deliver_event
from gateway.connections.registry import Connection, Connections
from gateway.core import faults
from gateway.core.batches import batches
from gateway.core.faults import contained
from gateway.rooms.events import bus_event
from gateway.rooms.history_reader import Departed, Gap, HistoryReader
from gateway.rooms.presence import Presence
from gateway.rooms.room import Joining, Room, ends_membership, is_news
from gateway.rooms.subscriptions import Subscriptions
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

MAX_EARLY = 1000
"""Events that wait while a gap of one room is read. With more, all of them are read from the store."""

T = TypeVar("T")

Finding = tuple[str, str | None, RoomPosition | None]
"""A room's name and epoch as this node knew it before its question, and the answer of the store."""


class Hub:
    """Passes each event of the bus to the connections that it concerns."""

    def __init__(
        self,
        bus: Bus,
        connections: Connections,
        presence: Presence,
        gaps: HistoryReader,
        max_presence_listeners: int = 0,
    ) -> None:
        """Rooms with more than `max_presence_listeners` subscribers get no presence and typing; 0 means no limit."""
        self._subscriptions = Subscriptions(bus)
        self._max_presence_listeners = max_presence_listeners
        self._connections = connections
        self._presence = presence
        self._reader = gaps
        self._rooms: dict[str, Room] = {}
        self._unchecked: set[str] = set()
        self._checking: asyncio.Task[None] | None = None
        self._reading = asyncio.Semaphore(MAX_READING)
        self._gaps_read = self._resyncs = self._rooms_behind = 0

    async def begin_join(self, name: str, listener: Connection) -> None:
        """Start to buffer a room's events for a connection, until `complete_join`, `abort_join` or `leave`.

        Return when the bus delivers them. If it does not, undo this and raise the bus's error.
        """
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._connections.for_user)
        listener.joined.setdefault(name, 0)
        heard = room.remove(listener)
        if heard is not None:
            self._presence.leave_room(name, listener)
        room.joining[listener] = Joining(heard, room.epoch)
        try:
            await self._subscriptions.subscribe(name)
        except BaseException:
            self.abort_join(name, listener)
            raise

    def abort_join(self, name: str, listener: Connection) -> None:
        """Undo `begin_join`: a connection that was subscribed before continues as if nothing had happened."""
        room = self._rooms.get(name)
        joining = room.joining.get(listener) if room is not None else None
        if room is None or joining is None:
            return
        if joining.position is None or joining.epoch is None:
            self.leave(name, listener)
            return
        self._finish_join(room, listener, RoomPosition(name, joining.epoch, joining.position, listener.joined[name]))

    def complete_join(self, listener: Connection, at: RoomPosition) -> None:
        """Subscribe the connection, as a member, to a room's events from its position in the store on.

        If the connection must read the store again, the room is missing in its `joined` after this.
        """
        room = self._rooms.get(at.name)
        joining = None if room is None else room.joining.get(listener)
        if room is None or joining is None:
            return
        is_overtaken = room.epoch not in {at.epoch, joining.epoch}  # it is unknown which of the two rooms is newer
        if is_overtaken or any(ends_membership(event, listener, at) for event in joining.buffered):
            self.leave(at.name, listener)
            return
        if room.epoch not in {None, at.epoch}:
            self._end_unnoticed(room, at)
        if room.epoch is None:
            room.start_at(at)
        listener.joined[at.name] = at.departures
        self._finish_join(room, listener, at)
        self._catch_up(room)
        if room.needs_recheck:
            self.check_soon(room.name)

    def leave(self, name: str, listener: Connection) -> None:
        """Unsubscribe the connection from a room."""
        listener.joined.pop(name, None)
        room = self._rooms.get(name)
        if room is None:
            return
        if room.remove(listener) is not None:
            self._presence.leave_room(name, listener)
        self._forget_if_empty(room)

    def receive(self, event: BusEvent) -> int:
        """Deliver an event, and return how many connections get it at once."""
        match event:
            case ToAll(frame=frame):
                return self._connections.deliver(frame)
            case ToUser(frame=frame, user_id=user_id):
                return self._connections.deliver(frame, user_id)
        room = self._rooms.get(event.room)
        if room is None or (event.frame.droppable and self._is_crowded(room)):
            return 0
        match event:
            case Logged():
                return self._receive_logged(room, event)
            case ToRoom():
                return room.publish(event)
            case MemberLeft() | RoomEnded() if event.epoch != room.epoch:
                room.buffer(event)  # a connection that joins may be reading the store about that very room
                self.check_soon(room.name)
                return 0
            case MemberLeft():
                return self._receive_departure(room, event)
            case RoomEnded():
                return self._end(room, event)

    def check_soon(self, name: str | None) -> None:
        """Check a room, or all rooms, against the store soon: their events may be lost."""
        self._unchecked.update(self._rooms if name is None else self._rooms.keys() & {name})
        if self._unchecked and self._checking is None:
            self._checking = asyncio.create_task(self._check_unchecked())

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

    def subscriber_count(self, name: str) -> int:
        """Return how many connections of this node are subscribed to a room."""
        room = self._rooms.get(name)
        return 0 if room is None else len(room.subscribers)

    @property
    def room_count(self) -> int:
        """Return how many rooms have a subscriber on this node."""
        return len(self._rooms)

    @property
    def room_names(self) -> list[str]:
        """Return the names of the rooms with a subscriber on this node."""
        return list(self._rooms)

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
        self._subscriptions.close()
        if self._checking is not None:
            self._checking.cancel()
        for room in self._rooms.values():
            if room.closing is not None:
                room.closing.cancel()

    def _finish_join(self, room: Room, listener: Connection, at: RoomPosition) -> None:
        """Complete the join of a connection that has read up to a position."""
        for event in room.joining.pop(listener).buffered:
            if ends_membership(event, listener, at):
                self._remove(room, listener, event)
                return
            if is_news(event, listener, at):
                deliver_event(event, listener)
        room.add(listener, at.offset)
        self._presence.enter_room(room.name, listener)

    def _remove(self, room: Room, listener: Connection, last: RoomEvent | None = None) -> None:
        """Unsubscribe a connection, with the last event as the reason. It has received all earlier events."""
        self.leave(room.name, listener)
        if last is not None:
            deliver_event(last, listener)
        self._presence.drop_from_room(room.name, listener.user)

    def _is_crowded(self, room: Room) -> bool:
        # If every member were announced to every member, the cost of a crowd that comes at once would be its square.
        return 0 < self._max_presence_listeners < len(room.subscribers)

    def _receive_logged(self, room: Room, event: Logged) -> int:
        if room.position is None:
            self._add_early(room, event)  # until a connection that joins has read the position
            return 0
        if room.closing is None and event.epoch == room.epoch and event.offset == room.position + 1:
            given = room.publish(event)
            room.advance(event.offset)
            return given
        if event.epoch != room.epoch or event.offset > room.position:
            self._add_early(room, event)
            self._close_gap(room)
        return 0

    def _add_early(self, room: Room, event: Logged) -> None:
        room.early.append(event)
        if len(room.early) > MAX_EARLY:
            room.early.clear()
            self.check_soon(room.name)

    def _receive_departure(self, room: Room, event: MemberLeft) -> int:
        """Remove a user's connections from the room, except those that have joined after the departure."""
        if not room.record_departure(event.departures):
            self.check_soon(room.name)  # an earlier departure is missing
        theirs = [listener for listener in self._connections.for_user(event.user_id) if room.has(listener)]
        sent_away = [listener for listener in theirs if listener.joined[room.name] < event.departures]
        if len(sent_away) == len(theirs):
            given = room.publish(event)
            for listener in sent_away:
                self._remove(room, listener)
            return given
        # The user has joined again already, and the room has been notified of that.
        room.buffer(event)
        for listener in sent_away:
            self.leave(room.name, listener)
            deliver_event(event, listener)
        return len(sent_away)

    def _end(self, room: Room, last: RoomEnded) -> int:
        """Remove all subscribers of a room that no longer exists."""
        given = room.publish(last)
        sent_away = [*room.subscribers, *room.read_further]
        room.reset()
        for listener in sent_away:
            listener.joined.pop(room.name, None)
            self._presence.drop_from_room(room.name, listener.user)
        room.early = [event for event in room.early if event.epoch != last.epoch]
        self._forget_if_empty(room)
        return given

    def _end_unnoticed(self, room: Room, now: RoomPosition) -> None:
        """Remove all subscribers of a room that was replaced by one of the same name, without an event about it."""
        logger.warning("a room has been replaced without an event; its subscribers are asked to join again")
        self._resyncs += 1
        resync = Resync(room=room.name, epoch=now.epoch, offset=now.offset)
        self._end(room, RoomEnded(frames.event(resync), room.name, room.epoch or ""))

    def _end_deleted(self, room: Room) -> None:
        """Remove all subscribers of a room that was deleted, without an event about it."""
        last = frames.event(RoomDeleted(room=room.name))
        self._end(room, RoomEnded(last, room.name, room.epoch or ""))

    def _forget_if_empty(self, room: Room) -> None:
        if not room.is_empty or self._rooms.get(room.name) is not room:
            return
        del self._rooms[room.name]
        self._subscriptions.unsubscribe(room.name)
        if room.closing is not None:
            room.closing.cancel()

    def _catch_up(self, room: Room) -> None:
        """Deliver the early events, up to the next gap."""
        waiting, room.early = room.early, []
        for event in sorted(waiting, key=lambda event: event.offset):
            self._receive_logged(room, event)

    async def _check_unchecked(self) -> None:
        try:
            while self._unchecked:
                await asyncio.sleep(CHECK_SECONDS)
                names, self._unchecked = self._unchecked, set()
                try:
                    await self.check(names)
                except Exception as fault:  # the next check must follow in any case
                    if not isinstance(fault, Unavailable):
                        faults.record("rooms", fault)
                    self._unchecked |= names
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._checking = None

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
            self._end_unnoticed(room, found)
        else:
            room.needs_recheck = room.closing is not None  # the read in progress may have been too early
            self._close_gap(room)

    def _close_gap(self, room: Room) -> None:
        if room.closing is None:
            room.closing = asyncio.create_task(self._read_gap(room))

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
        self._catch_up(room)
        if room.needs_recheck:
            self.check_soon(room.name)

    async def _read_departed(self, room: Room, gap: Gap | None) -> Departed | None:
        if gap is None or gap.room.departures <= room.departures:
            return None
        # Collected before the question: a user that joins later is a member.
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
            self._end_unnoticed(room, gap.room.position)
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
        room.record_departures(departures)
        for user_id in departed.user_ids:
            name = next((listener.user for listener in self._connections.for_user(user_id)), None)
            if name is not None:
                left = frames.event(RoomLeft(room=room.name, user=name))
                event = MemberLeft(left, room.name, departed.room.epoch, user_id, departures)
                self._receive_departure(room, event)
        room.confirm_members(departures)

    def _fill(self, room: Room, gap: Gap) -> None:
        top = gap.room.offset
        events = [bus_event(gap.room, row) for row in gap.rows or ()]  # all of them, or none
        for event in events:
            room.publish(event)
            top = max(top, event.offset)
        # Later changes of the same messages have replaced what lies between the last row and the top.
        room.advance(top)

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
        room.advance(offset)
