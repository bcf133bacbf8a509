"""A room on one node: its position in the log, and its subscribers.

An event of the log is compared with the room's position. The table says what follows:

| the event                                        | `Order`       | what the hub does               |
|--------------------------------------------------|---------------|---------------------------------|
| any, while no connection has read the position   | `UNKNOWN`     | keeps it until one has read it  |
| the next offset of the same epoch, no read runs  | `NEXT`        | delivers it                     |
| an offset of the same epoch up to the position   | `OLD`         | drops it                        |
| any other: a later offset, or another epoch      | `AFTER_A_GAP` | keeps it, and reads the missing |

`ends_membership` and `is_news` decide about one connection that has read the store at a position.
"""

import asyncio
from collections.abc import Collection
from enum import Enum, auto

from gateway.bus.base import Logged, MemberJoined, MemberLeft, RoomEnded, RoomEvent, ToRoom
from gateway.connections.fanout import Fanout, SubscribersOfUser, deliver_event
from gateway.connections.registry import Connection
from gateway.core.taps import Taps
from gateway.core.timers import Timer
from gateway.rooms.window import Window
from gateway.store.rooms import RoomPosition


class Order(Enum):
    """Where an event stands in a room's log, as this node knows it."""

    UNKNOWN = auto()
    NEXT = auto()
    OLD = auto()
    AFTER_A_GAP = auto()


class Joining:
    """The events that arrive while a connection reads the store, and its state before that."""

    __slots__ = ("buffered", "epoch", "position")

    def __init__(self, heard: int | None, epoch: str | None) -> None:
        self.position = heard  # the position up to which it was subscribed before, if it was
        self.epoch = epoch  # of the room, as far as the node knew
        self.buffered: list[RoomEvent] = []


class Loading:
    """A read of the window, and the events that the room's listeners get meanwhile."""

    __slots__ = ("done", "events", "is_void", "task")

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.events: list[Logged] = []
        self.is_void = False  # what it reads is no longer of use


class Room:
    """A room on this node."""

    __slots__ = (
        "arrivals",
        "closing",
        "departed",
        "departures",
        "early",
        "epoch",
        "first",
        "joining",
        "leaving",
        "loading",
        "members",
        "name",
        "needs_recheck",
        "position",
        "read_further",
        "signals_until",
        "subscribers",
        "taps",
        "window",
    )

    def __init__(self, name: str, of_user: SubscribersOfUser, taps: Taps | None = None) -> None:
        self.name = name
        self.taps = taps or Taps()
        self.epoch: str | None = None
        self.position: int | None = None  # None, like `epoch`, until the first connection that joins has read the store
        self.first = 0  # the first position: earlier events were passed on to no connection
        self.arrivals = 0
        self.departures = 0  # all departures up to this number are handled,
        self.departed: tuple[int, ...] = ()  # and these, while an earlier one is missing
        self.subscribers = Fanout(of_user)
        self.joining: dict[Connection, Joining] = {}
        self.read_further: dict[Connection, int] = {}  # have read up to this offset, beyond `position`
        self.early: list[Logged] = []  # arrived before events that are missing
        self.closing: asyncio.Task[None] | None = None  # reads the missing events
        self.needs_recheck = False  # events may be missing, but they cannot be looked for yet
        self.members: dict[str, int] = {}  # the ids of known members, each with the departures before that
        self.window: Window | None = None
        self.loading: Loading | None = None
        self.signals_until = 0.0  # until when it surely takes signals, on the steady clock
        self.leaving: Timer | None = None  # runs while no connection is left

    @property
    def connections(self) -> list[Connection]:
        """Return the connections that are subscribed, or are joining."""
        return [*self.subscribers, *self.read_further, *self.joining]

    @property
    def is_empty(self) -> bool:
        """Return whether it has no subscriber, and no connection that joins."""
        return not (self.subscribers or self.read_further or self.joining)

    @property
    def is_certain(self) -> bool:
        """Return whether it has heard all events, as far as this node knows."""
        is_behind = self.closing is not None or self.needs_recheck or self.early or self.departed
        return self.position is not None and not is_behind

    def has(self, listener: Connection) -> bool:
        """Return whether a connection is already subscribed."""
        return listener in self.subscribers or listener in self.read_further

    def order_of(self, event: Logged) -> Order:
        """Return where an event stands in the log."""
        if self.position is None:
            return Order.UNKNOWN
        if event.epoch == self.epoch:
            if event.offset <= self.position:
                return Order.OLD
            if event.offset == self.position + 1 and self.closing is None:
                return Order.NEXT
        return Order.AFTER_A_GAP

    def is_behind(self, now: RoomPosition | None) -> bool:
        """Return whether the store was further at the time of a question. `now` is None for a deleted room."""
        if self.position is None:
            return False
        if now is None or now.epoch != self.epoch:
            return True
        return now.offset > self.position or now.departures > self.departures

    def start_at(self, at: RoomPosition) -> None:
        """Take over the position that the first connection has read."""
        self.epoch, self.position, self.first = at.epoch, at.offset, at.offset
        self.arrivals, self.departures = at.arrivals, at.departures
        # Events before the first position are not recorded, so what was read earlier may lack some of them.
        if self.window is not None and (self.window.epoch != at.epoch or self.window.top < at.offset):
            self.window = None
        if self.loading is not None:
            self.loading.is_void = True

    def reset(self) -> None:
        """Forget the room, but keep the connections that are joining one of its name."""
        self.epoch = self.position = None
        self.first = self.arrivals = self.departures = 0
        self.departed = ()
        self.read_further.clear()
        self.subscribers.clear()
        self.forget()

    def forget(self) -> None:
        """Forget what only saves questions to the store: members and the window."""
        self.members.clear()
        self.window = None
        if self.loading is not None:
            self.loading.is_void = True

    def record_arrivals(self, count: int) -> None:
        """Record how many memberships have begun."""
        self.arrivals = max(self.arrivals, count)

    def record_departure(self, number: int) -> bool:
        """Record a departure as handled, and return whether all earlier ones are handled too."""
        if number > self.departures:
            self.departed += (number,)
        self.record_departures(self.departures)
        return not self.departed

    def record_departures(self, count: int) -> None:
        """Record that this number of departures is handled."""
        self.departures = max(self.departures, count)
        while self.departures + 1 in self.departed:
            self.departures += 1
        self.departed = tuple(number for number in self.departed if number > self.departures)

    def has_missed_events(self, at: RoomPosition) -> bool:
        """Return whether a connection that has read up to a position gets no event up to the room's first one.

        Of two connections that join a room which the node does not hear, the later read may be complete first.
        """
        return self.epoch == at.epoch and at.offset < self.first

    def joined_before(self, departures: int) -> set[str]:
        """Return the users of subscribers that were members before this number of departures, as far as is known."""
        listeners = (*self.subscribers, *self.read_further)
        return {listener.user_id for listener in listeners if listener.joined[self.name] < departures}

    def confirm_members(self, user_ids: Collection[str], departures: int) -> None:
        """Record that users were still members after this number of departures, and forget the others."""
        for listener in self.connections:
            if listener.user_id in user_ids:
                listener.joined[self.name] = max(listener.joined[self.name], departures)
        known = self.members.items()
        self.members = {
            user_id: max(number, departures) for user_id, number in known if number >= departures or user_id in user_ids
        }

    def has_missed_departures(self, joining: Joining, at: RoomPosition) -> bool:
        """Return whether departures after a read are handled that a connection has not received as events.

        Repair has found them, and may have looked before this connection began to join.
        """
        after = {event.departures for event in joining.buffered if isinstance(event, MemberLeft)}
        came = sum(at.departures < number <= self.departures for number in after)
        return self.epoch == at.epoch and came < self.departures - at.departures

    def add(self, listener: Connection, offset: int) -> None:
        """Subscribe a connection to the events after an offset."""
        if self.position is not None and offset > self.position:
            self.read_further[listener] = offset
        else:
            self.subscribers.add(listener)

    def remove(self, listener: Connection) -> int | None:
        """Unsubscribe a connection. Return its position, or None if it was only joining."""
        heard = self.read_further.pop(listener, None)
        if listener in self.subscribers:
            self.subscribers.remove(listener)
            heard = self.position
        self.joining.pop(listener, None)
        return heard

    def buffer(self, event: RoomEvent) -> None:
        """Buffer an event for the connections that are joining."""
        for joining in self.joining.values():
            joining.buffered.append(event)

    def publish(self, event: RoomEvent) -> int:
        """Deliver an event to all subscribers that need it, and return their number."""
        self.subscribers.publish(event)
        given = len(self.subscribers)
        for listener, offset in tuple(self.read_further.items()):
            if not isinstance(event, Logged) or event.offset > offset:
                deliver_event(event, listener)
                given += 1
        self.buffer(event)
        if self.taps.is_open and given:
            self.taps.event(self.name, event.frame.texts[0], given)
        return given

    def advance(self, offset: int) -> None:
        """Record that the log has been delivered up to an offset."""
        self.position = offset
        for listener, leads in tuple(self.read_further.items()):
            if leads <= offset:
                del self.read_further[listener]
                self.subscribers.add(listener)


def ends_membership(event: RoomEvent, listener: Connection, at: RoomPosition) -> bool:
    """Return whether an event ends a membership that was read at a position."""
    match event:
        case RoomEnded():
            return event.epoch == at.epoch
        case MemberLeft(user_id=listener.user_id):
            return event.epoch == at.epoch and event.departures > at.departures
    return False


def is_news(event: RoomEvent, listener: Connection, at: RoomPosition) -> bool:
    """Return whether an event is new to a member that has read the store at a position."""
    match event:
        case Logged():
            return event.epoch == at.epoch and event.offset > at.offset
        case MemberJoined():
            return event.epoch == at.epoch and event.arrivals > at.arrivals
        case MemberLeft(user_id=listener.user_id):
            return False
        case MemberLeft():
            return event.epoch == at.epoch and event.departures > at.departures
        case RoomEnded():
            return event.epoch == at.epoch
        case ToRoom():
            return True
