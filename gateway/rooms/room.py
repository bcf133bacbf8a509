"""A room as one node hears it: how far its log has been given out, and to whom."""

import asyncio

from gateway.bus.base import BusEvent
from gateway.connections.fanout import Fanout, SubscribersOfUser, deliver_event
from gateway.connections.registry import Connection
from gateway.store.rooms import RoomPosition


class Joining:
    """What came while a listener reads, and what was so before it began to."""

    __slots__ = ("buffered", "epoch", "position")

    def __init__(self, heard: int | None, epoch: str | None) -> None:
        self.position = heard  # up to where it had heard the room, if it had
        self.epoch = epoch  # the room's, as far as the node knew
        self.buffered: list[BusEvent] = []


class Room:
    """One room on this node."""

    __slots__ = (
        "closing",
        "departed",
        "departures",
        "early",
        "epoch",
        "joining",
        "name",
        "needs_recheck",
        "position",
        "read_further",
        "subscribers",
    )

    def __init__(self, name: str, of_user: SubscribersOfUser) -> None:
        self.name = name
        self.epoch: str | None = None
        self.position: int | None = None  # None, as `epoch`, until the first one who joins has read the store
        self.departures = 0  # so many ends of memberships have been seen to,
        self.departed: tuple[int, ...] = ()  # and these, while one before them is missing
        self.subscribers = Fanout(of_user)
        self.joining: dict[Connection, Joining] = {}
        self.read_further: dict[Connection, int] = {}  # have read further than `position`, up to this offset
        self.early: list[BusEvent] = []  # came before what is missing
        self.closing: asyncio.Task[None] | None = None  # reads what is missing
        self.needs_recheck = False  # something may have been missed that cannot be looked for yet

    @property
    def connections(self) -> list[Connection]:
        """Those who hear it, and those who are about to."""
        return [*self.subscribers, *self.read_further, *self.joining]

    @property
    def is_empty(self) -> bool:
        """Whether there is nobody to hear it."""
        return not (self.subscribers or self.read_further or self.joining)

    def has(self, listener: Connection) -> bool:
        """Tell whether somebody hears it already."""
        return listener in self.subscribers or listener in self.read_further

    def is_behind(self, now: RoomPosition | None) -> bool:
        """Tell whether the store, when it was asked, was further than this; None stands for a room that is no more."""
        if self.position is None:
            return False
        if now is None or now.epoch != self.epoch:
            return True
        return now.offset > self.position or now.departures > self.departures

    def start_at(self, at: RoomPosition) -> None:
        """Take over how far the room is from the first one who has read that."""
        self.epoch, self.position, self.departures = at.epoch, at.offset, at.departures

    def reset(self) -> None:
        """Forget the room that was, but for those who are about to hear one of its name."""
        self.epoch = self.position = None
        self.departures = 0
        self.departed = ()
        self.read_further.clear()
        self.subscribers.clear()

    def record_departure(self, number: int) -> bool:
        """Note that the end of a membership has been seen to; tells whether all before it have been as well."""
        if number > self.departures:
            self.departed += (number,)
        self.record_departures(self.departures)
        return not self.departed

    def record_departures(self, count: int) -> None:
        """Note that so many ends of memberships have been seen to."""
        self.departures = max(self.departures, count)
        while self.departures + 1 in self.departed:
            self.departures += 1
        self.departed = tuple(number for number in self.departed if number > self.departures)

    def confirm_members(self, departures: int) -> None:
        """Note that all who hear the room were still members after so many departures."""
        for listener in (*self.subscribers, *self.read_further):
            listener.joined[self.name] = max(listener.joined[self.name], departures)

    def add(self, listener: Connection, offset: int) -> None:
        """Let somebody hear what comes after an offset."""
        if self.position is not None and offset > self.position:
            self.read_further[listener] = offset
        else:
            self.subscribers.add(listener)

    def remove(self, listener: Connection) -> int | None:
        """Take a listener out; tells up to where it had heard the room, None if it was only about to."""
        heard = self.read_further.pop(listener, None)
        if listener in self.subscribers:
            self.subscribers.remove(listener)
            heard = self.position
        self.joining.pop(listener, None)
        return heard

    def buffer(self, event: BusEvent) -> None:
        """Keep an event for those who are about to hear the room."""
        for joining in self.joining.values():
            joining.buffered.append(event)

    def publish(self, event: BusEvent) -> int:
        """Give an event to all who are due it; returns how many that were."""
        self.subscribers.publish(event)
        given = len(self.subscribers)
        for listener, offset in tuple(self.read_further.items()):
            if event.offset is None or event.offset > offset:
                deliver_event(event, listener)
                given += 1
        self.buffer(event)
        return given

    def advance(self, offset: int) -> None:
        """Note that the log has been given out up to an offset."""
        self.position = offset
        for listener, leads in tuple(self.read_further.items()):
            if leads <= offset:
                del self.read_further[listener]
                self.subscribers.add(listener)


def ends_membership(event: BusEvent, listener: Connection, at: RoomPosition) -> bool:
    """Whether an event says that a membership, which was read at a position, is no more."""
    if event.epoch != at.epoch:
        return False  # that of another room of this name
    return event.drop_all or (event.drop_user == listener.user_id and (event.departures or 0) > at.departures)


def is_news(event: BusEvent, listener: Connection, at: RoomPosition) -> bool:
    """Whether an event tells something to a member who has read the store at a position."""
    if event.epoch not in {None, at.epoch} or event.drop_user == listener.user_id:
        return False
    if event.offset is not None:
        return event.offset > at.offset
    return event.departures is None or event.departures > at.departures
