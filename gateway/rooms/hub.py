"""Who hears which room on this node.

Every listener of a room gets the room's log in the order of offsets, each event once. The bus may lose, double or
delay what it carries; offsets tell, and what is missing is read from the store. While that is done, later events of
the room wait; what cannot be read becomes `resync`, which tells clients to join anew.

Whoever joins subscribes first and reads the store then, so that nothing falls in between; what comes meanwhile is
kept for it.
"""

import asyncio
import logging
from typing import Protocol

from gateway.bus.base import Bus, BusEvent
from gateway.connections import Connections
from gateway.rooms.audience import Audience, Hearer, give_one
from gateway.rooms.events import bus_event
from gateway.rooms.missed import Gap, Gaps
from gateway.rooms.presence import Presence, Visitor
from gateway.transport import frames
from handlers.errors import Unavailable
from schemas.events.rooms import Resync

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""How long to wait before a hole is read again, when the store was not available."""


class Listener(Visitor, Hearer, Protocol):
    """A connection, as the hub sees it. The hub keeps `joined`, the rooms that it hears."""


class _Joining:
    """What came while a listener reads, and up to where it had heard the room before, if it had."""

    __slots__ = ("heard", "kept")

    def __init__(self, heard: int | None) -> None:
        self.heard = heard
        self.kept: list[BusEvent] = []


class _Room:
    """One room on this node: how far its log has been given out, and to whom."""

    __slots__ = ("ahead", "closing", "epoch", "joining", "leading", "listeners", "name", "position")

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch: str | None = None
        self.position: int | None = None  # None until the first one who joins has read the store
        self.listeners = Audience()
        self.joining: dict[Listener, _Joining] = {}
        self.leading: dict[Listener, int] = {}  # have read further than `position`, up to this offset
        self.ahead: list[BusEvent] = []  # came before what is missing
        self.closing: asyncio.Task[None] | None = None  # reads what is missing

    @property
    def everyone(self) -> list[Listener]:
        return [*self.listeners, *self.leading, *self.joining]

    def forget(self, listener: Listener) -> int | None:
        """Take a listener out; tells up to where it had heard the room, None if it was only about to."""
        heard = self.leading.pop(listener, None)
        if listener in self.listeners:
            self.listeners.remove(listener)
            heard = self.position
        self.joining.pop(listener, None)
        return heard

    def give(self, event: BusEvent) -> int:
        """Give an event to all who are due it; returns how many that were."""
        self.listeners.give(event)
        given = len(self.listeners)
        for listener, offset in tuple(self.leading.items()):
            if event.offset is None or event.offset > offset:
                give_one(event, listener)
                given += 1
        for joining in self.joining.values():
            joining.kept.append(event)
        return given

    def advance(self, offset: int) -> None:
        """Note that the log has been given out up to an offset."""
        self.position = offset
        for listener, leads in tuple(self.leading.items()):
            if leads <= offset:
                del self.leading[listener]
                self.listeners.add(listener)


class Hub:
    """Gives each event that the bus brings to those whom it concerns."""

    def __init__(
        self, bus: Bus, connections: Connections, presence: Presence, gaps: Gaps, max_presence_listeners: int = 0
    ) -> None:
        """In a room with more than `max_presence_listeners` nobody is told of presence and typing; 0 for no bound."""
        self._bus = bus
        self._max_presence_listeners = max_presence_listeners
        self._connections = connections
        self._presence = presence
        self._gaps = gaps
        self._rooms: dict[str, _Room] = {}

    async def begin(self, name: str, listener: Listener) -> None:
        """Start to keep a room's events for a listener, until `complete`, `abort` or `leave`."""
        listener.joined.add(name)
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room(name)
        heard = room.forget(listener)
        if heard is not None:
            self._presence.exit(name, listener)
        room.joining[listener] = _Joining(heard)
        await self._bus.subscribe(name)  # also where another has asked: it may not have been confirmed yet

    def abort(self, name: str, listener: Listener) -> None:
        """Undo `begin`: whoever heard the room before hears it as if nothing had been."""
        room = self._rooms.get(name)
        joining = room.joining.get(listener) if room is not None else None
        if room is None or joining is None:
            return
        if joining.heard is None or room.epoch is None:
            self.leave(name, listener)
        else:
            self.complete(name, listener, room.epoch, joining.heard)

    def complete(self, name: str, listener: Listener, epoch: str, offset: int) -> None:
        """Make the listener hear the room from the event after `offset` on, which is as far as it has read."""
        room = self._rooms.get(name)
        joining = None if room is None else room.joining.get(listener)
        if room is None or joining is None:
            return  # its membership ended while it was joining
        if room.epoch not in {None, epoch}:
            self._end_epoch(room, epoch, offset)
        del room.joining[listener]
        if room.position is None:
            room.epoch, room.position = epoch, offset
        for event in joining.kept:
            if event.offset is None or event.offset > offset:
                give_one(event, listener)
        if offset > room.position:
            room.leading[listener] = offset
        else:
            room.listeners.add(listener)
        self._presence.enter(name, listener)
        self._catch_up(room)

    def leave(self, name: str, listener: Listener) -> None:
        """Make the listener hear the room no more."""
        listener.joined.discard(name)
        room = self._rooms.get(name)
        if room is None:
            return
        if room.forget(listener) is not None:
            self._presence.exit(name, listener)
        self._forget_if_empty(room)

    def receive(self, event: BusEvent) -> int:
        """Give an event to those whom it concerns; returns how many got it at once."""
        if event.room is None:
            return self._connections.deliver(event.frame, event.user)
        room = self._rooms.get(event.room)
        if room is None or (event.frame.droppable and self._is_crowded(room)):
            return 0
        given = room.give(event) if event.offset is None else self._receive_logged(room, event)
        self._drop(room, event)
        return given

    def missed(self, name: str | None) -> None:
        """Take the news that events of a room, or of all, may not have come."""

    @property
    def heard(self) -> int:
        """How many rooms somebody hears on this node."""
        return len(self._rooms)

    def close(self) -> None:
        """Stop reading what is missing."""
        for room in self._rooms.values():
            if room.closing is not None:
                room.closing.cancel()

    def _is_crowded(self, room: _Room) -> bool:
        # Were everybody told of everybody, the cost of a crowd that comes at once would be its square.
        return 0 < self._max_presence_listeners < len(room.listeners)

    def _receive_logged(self, room: _Room, event: BusEvent) -> int:
        if room.position is None:
            room.ahead.append(event)  # until somebody knows what came before
            return 0
        if room.closing is None and event.epoch == room.epoch and event.offset == room.position + 1:
            given = room.give(event)
            room.advance(event.offset)
            return given
        if event.epoch != room.epoch or (event.offset or 0) > room.position:
            room.ahead.append(event)
            self._close_gap(room)
        return 0

    def _drop(self, room: _Room, event: BusEvent) -> None:
        if event.drop_user is None and not event.drop_all:
            return
        for listener in room.everyone:
            if event.drop_all or listener.user_id == event.drop_user:
                self.leave(room.name, listener)
                self._presence.forget(room.name, listener.user)

    def _forget_if_empty(self, room: _Room) -> None:
        if room.listeners or room.leading or room.joining or self._rooms.get(room.name) is not room:
            return
        del self._rooms[room.name]
        self._bus.unsubscribe(room.name)
        if room.closing is not None:
            room.closing.cancel()

    def _catch_up(self, room: _Room) -> None:
        """Give out what came too early, as far as it is without a gap."""
        waiting, room.ahead = room.ahead, []
        for event in sorted(waiting, key=lambda event: event.offset or 0):
            self._receive_logged(room, event)

    def _close_gap(self, room: _Room) -> None:
        if room.closing is None:
            room.closing = asyncio.create_task(self._read_gap(room))

    async def _read_gap(self, room: _Room) -> None:
        epoch, position = room.epoch, room.position
        assert epoch is not None  # noqa: S101 - both are set by the first `complete`
        assert position is not None  # noqa: S101
        logger.info("reading a gap of a room after offset %d", position)
        try:
            gap = await self._read_patiently(room.name, epoch, position)
        finally:
            room.closing = None
        if room.epoch != epoch:
            return  # ended meanwhile
        if gap is None:
            room.ahead.clear()  # the room is gone, and the event that says so is on its way
        elif gap.rows is None:
            self._resync(room, gap)
        else:
            self._fill(room, gap)
            self._catch_up(room)

    async def _read_patiently(self, name: str, epoch: str, offset: int) -> Gap | None:
        while True:
            try:
                return await self._gaps.read(name, epoch, offset)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    def _fill(self, room: _Room, gap: Gap) -> None:
        top = gap.room.offset
        for row in gap.rows or ():
            room.give(bus_event(gap.room, row))
            top = max(top, row.changed)
        # What lies between the last row and the top was overtaken by later changes of the same messages.
        room.advance(top)

    def _resync(self, room: _Room, gap: Gap) -> None:
        if gap.room.epoch != room.epoch:
            self._end_epoch(room, gap.room.epoch, gap.room.offset)
            return
        logger.warning("a gap of a room cannot be closed; its listeners are told to join anew")
        room.ahead.clear()
        room.give(_resync_event(room.name, gap.room.epoch, gap.room.offset))
        room.advance(gap.room.offset)

    def _end_epoch(self, room: _Room, epoch: str, offset: int) -> None:
        """Send everyone away who heard a room of this name that is no more, of which we have not been told."""
        logger.warning("a room has been made anew unnoticed; its listeners are told to join anew")
        resync = _resync_event(room.name, epoch, offset)
        sent_away = [*room.listeners, *room.leading]
        room.listeners.clear()
        room.leading.clear()
        room.ahead.clear()
        for listener in sent_away:
            listener.deliver(resync.frame)
            self._presence.forget(room.name, listener.user)
            listener.joined.discard(room.name)
        room.epoch = room.position = None
        self._forget_if_empty(room)


def _resync_event(room: str, epoch: str, offset: int) -> BusEvent:
    return BusEvent(frames.event(Resync(room=room, epoch=epoch, offset=offset)), room=room)
