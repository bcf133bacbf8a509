"""The hub: delivers the events of rooms to their subscribers on this node.

Every subscriber gets the room's log in the order of offsets, each event once. The bus may lose, double or delay events.
The offsets show it, and `gateway.rooms.repair` reads what is missing. Meanwhile, later events of the room wait.

Departures are counted too. A departure removes a subscriber only if its number is higher than the count that was read
with the membership. An event of another room with the same name decides nothing: the store says which of the two
exists.

A connection that joins subscribes first and reads the store after that, so that nothing falls in between. Events that
arrive meanwhile are buffered for it.
"""

from functools import partial

from gateway.bus.base import (
    Bus,
    BusEvent,
    Logged,
    MemberJoined,
    MemberLeft,
    RoomEnded,
    RoomEvent,
    ToAll,
    ToRoom,
    ToUser,
)
from gateway.connections.fanout import deliver_event
from gateway.connections.registry import Connection, Connections
from gateway.core.taps import Taps
from gateway.core.timers import TimerWheel
from gateway.rooms.history_reader import HistoryReader
from gateway.rooms.memory import RoomMemory
from gateway.rooms.presence import Presence
from gateway.rooms.repair import Repair
from gateway.rooms.room import Joining, Order, Room, ends_membership, is_news
from gateway.rooms.subscriptions import Subscriptions
from gateway.store.rooms import RoomPosition
from gateway.transport.frames import Frame
from handlers.errors import QuotaExceeded

MAX_EARLY = 1000
"""Events that wait while a gap of one room is read. With more, all of them are read from the store."""


class Hub:
    """Passes each event of the bus to the connections that it concerns."""

    def __init__(
        self,
        bus: Bus,
        connections: Connections,
        presence: Presence,
        reader: HistoryReader,
        memory: RoomMemory,
        timers: TimerWheel,
        max_presence_listeners: int = 0,
        taps: Taps | None = None,
    ) -> None:
        """Rooms with more than `max_presence_listeners` subscribers get no droppable events and no news of new members.

        Such events are presence, typing and signals. 0 means no limit.
        """
        self._bus = bus
        self._taps = taps or Taps()
        self._subscriptions = Subscriptions(bus)
        self._timers = timers
        self.memory = memory
        """What the rooms remember."""
        self._max_presence_listeners = max_presence_listeners
        self._connections = connections
        self._presence = presence
        self._rooms: dict[str, Room] = {}
        self.repair = Repair(self._rooms, reader, memory, connections, self)
        """Finds and reads what was missed."""

    def find_certain(self, name: str) -> Room | None:
        """Return a room if this node has heard all of its events, as far as it knows."""
        room = self._rooms.get(name)
        if room is None or not room.is_certain or not self._bus.is_up or self.repair.is_doubtful(name):
            return None
        return room

    def knows_member(self, name: str, user_id: str) -> bool:
        """Return whether a user is a member of a room, as far as this node knows. If not, only the store knows."""
        room = self.find_certain(name)
        return room is not None and user_id in room.members

    def check_not_crowded(self, name: str, what: str) -> None:
        """Raise `QuotaExceeded` for a room with too many subscribers on this node."""
        room = self._rooms.get(name)
        if room is not None and self._are_crowd(_listeners_of(room)):
            most = self._max_presence_listeners
            raise QuotaExceeded(f"more than {most} connections hear this room, so it takes no {what}")

    def find(self, name: str) -> Room | None:
        """Return a room that this node hears, or is about to."""
        return self._rooms.get(name)

    def join_at_once(self, room: Room, listener: Connection, offset: int, departures: int) -> None:
        """Subscribe a connection to the events after an offset that the room has reached.

        Its user was a member after this number of departures.
        """
        if room.remove(listener) is not None:
            self._presence.leave_room(room.name, listener)
        listener.joined[room.name] = departures
        room.add(listener, offset)
        self._presence.enter_room(room.name, listener)
        self._keep(room)
        self.memory.touch(room)
        self._note_join(room, listener)

    async def begin_join(self, name: str, listener: Connection) -> None:
        """Start to buffer a room's events for a connection, until `complete_join`, `abort_join` or `leave`.

        Return when the bus delivers them. If it does not, undo this and raise the bus's error.
        """
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._connections.for_user, self._taps)
        self._keep(room)
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
        heard = joining.position
        self._finish_join(room, listener, RoomPosition(name, joining.epoch, heard, 0, listener.joined[name]))

    def complete_join(self, listener: Connection, at: RoomPosition) -> None:
        """Subscribe the connection, as a member, to a room's events from its position in the store on.

        If the connection must read the store again, the room is missing in its `joined` after this.
        """
        room = self._rooms.get(at.name)
        joining = None if room is None else room.joining.get(listener)
        if room is None or joining is None:
            return
        # It is unknown which of two rooms is newer, whether the membership has ended since the read, or what was sent.
        is_overtaken = (
            room.epoch not in {at.epoch, joining.epoch}
            or room.has_missed_departures(joining, at)
            or room.has_missed_events(at)
        )
        if is_overtaken or any(ends_membership(event, listener, at) for event in joining.buffered):
            self.leave(at.name, listener)
            return
        if room.epoch not in {None, at.epoch}:
            self.repair.end_unnoticed(room, at)
        if room.epoch is None:
            room.start_at(at)
        room.record_arrivals(at.arrivals)
        self.memory.record_member(room, listener.user_id, at.departures)
        listener.joined[at.name] = at.departures
        self._finish_join(room, listener, at)
        self.catch_up(room)
        if room.needs_recheck:
            self.repair.check_soon(room.name)

    def leave(self, name: str, listener: Connection) -> None:
        """Unsubscribe the connection from a room."""
        listener.joined.pop(name, None)
        self._presence.custom.drop(name, listener)
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
                return self._deliver(frame)
            case ToUser(frame=frame, user_id=user_id):
                return self._deliver(frame, user_id)
        room = self._rooms.get(event.room)
        if room is None:
            return 0
        if isinstance(event, MemberJoined) and event.epoch == room.epoch:
            room.record_arrivals(event.arrivals)
        if event.frame.droppable and self._is_crowded(room, event):
            return 0
        match event:
            case Logged():
                return self._receive_logged(room, event)
            case ToRoom():
                return room.publish(event)
            case MemberJoined() | MemberLeft() | RoomEnded() if event.epoch != room.epoch:
                room.buffer(event)  # a connection that joins may be reading the store about that very room
                self.repair.check_soon(room.name)
                return 0
            case MemberJoined():
                return room.publish(event)
            case MemberLeft():
                return self.receive_departure(room, event)
            case RoomEnded():
                return self.end(room, event)

    def receive_departure(self, room: Room, event: MemberLeft) -> int:
        """Remove a user's connections from the room, except those that have joined after the departure."""
        if not room.record_departure(event.departures):
            self.repair.check_soon(room.name)  # an earlier departure is missing
        if room.members.get(event.user_id, event.departures) < event.departures:
            del room.members[event.user_id]
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

    def end(self, room: Room, last: RoomEnded) -> int:
        """Remove all subscribers of a room that no longer exists."""
        given = room.publish(last)
        sent_away = [*room.subscribers, *room.read_further]
        room.reset()
        self.memory.forget(room)
        for listener in sent_away:
            listener.joined.pop(room.name, None)
            self._presence.drop_from_room(room.name, listener.user)
        room.early = [event for event in room.early if event.epoch != last.epoch]
        self._forget_if_empty(room)
        return given

    def catch_up(self, room: Room) -> None:
        """Deliver the early events, up to the next gap."""
        waiting, room.early = room.early, []
        for event in sorted(waiting, key=lambda event: event.offset):
            self._receive_logged(room, event)

    def subscriber_count(self, name: str) -> int:
        """Return how many connections of this node are subscribed to a room."""
        room = self._rooms.get(name)
        return 0 if room is None else len(room.subscribers)

    @property
    def room_count(self) -> int:
        """Return how many rooms this node hears. They had a subscriber not long ago."""
        return len(self._rooms)

    @property
    def subscription_count(self) -> int:
        """Return how many subscriptions there are: one for each room that a connection hears."""
        return sum(len(room.subscribers) + len(room.read_further) for room in self._rooms.values())

    @property
    def room_names(self) -> list[str]:
        """Return the names of the rooms that this node hears."""
        return list(self._rooms)

    def close(self) -> None:
        """Stop checks and reads."""
        self._subscriptions.close()
        self.repair.close()

    def _deliver(self, frame: Frame, user_id: str | None = None) -> int:
        reached = self._connections.deliver(frame, user_id)
        if self._taps.is_open and reached:
            self._taps.event("", frame.texts[0], reached)
        return reached

    def _note_join(self, room: Room, listener: Connection) -> None:
        if self._taps.is_open:
            self._taps.note("join", room=room.name, user=listener.user, connection=listener.connection)

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
        self._note_join(room, listener)

    def _remove(self, room: Room, listener: Connection, last: RoomEvent | None = None) -> None:
        """Unsubscribe a connection, with the last event as the reason. It has received all earlier events."""
        self._presence.drop_from_room(room.name, listener.user)
        self.leave(room.name, listener)
        if last is not None:
            deliver_event(last, listener)

    def _is_crowded(self, room: Room, event: RoomEvent) -> bool:
        # If every member were announced to every member, the cost of a crowd that comes at once would be its square.
        listeners = _listeners_of(room)
        if isinstance(event, MemberJoined):
            listeners -= sum(each in room.joining for each in self._connections.for_user(event.user_id))
        return self._are_crowd(listeners)

    def _are_crowd(self, listeners: int) -> bool:
        return 0 < self._max_presence_listeners < listeners

    def _receive_logged(self, room: Room, event: Logged) -> int:
        match room.order_of(event):
            case Order.NEXT:
                given = room.publish(event)
                room.advance(event.offset)
                self.memory.record(room, event)
                return given
            case Order.UNKNOWN:
                self._add_early(room, event)
            case Order.AFTER_A_GAP:
                self._add_early(room, event)
                self.repair.close_gap(room)
            case Order.OLD:
                pass
        return 0

    def _add_early(self, room: Room, event: Logged) -> None:
        room.early.append(event)
        if len(room.early) > MAX_EARLY:
            room.early.clear()
            self.repair.check_soon(room.name)

    def _forget_if_empty(self, room: Room) -> None:
        """Forget a room without connections: after a while, if it can answer the next ones, or else at once."""
        if not room.is_empty or self._rooms.get(room.name) is not room:
            return
        if room.position is None or room.arrivals <= room.departures or not self.memory.seconds:
            self._forget(room)
        elif room.leaving is None:
            room.leaving = self._timers.call_later(self.memory.seconds, partial(self._forget_if_left, room))

    def _keep(self, room: Room) -> None:
        if room.leaving is not None:
            room.leaving.cancel()
            room.leaving = None

    def _forget_if_left(self, room: Room) -> None:
        room.leaving = None
        if room.is_empty and self._rooms.get(room.name) is room:
            self._forget(room)

    def _forget(self, room: Room) -> None:
        del self._rooms[room.name]
        self._subscriptions.unsubscribe(room.name)
        self.memory.forget(room)
        self._keep(room)
        if room.closing is not None:
            room.closing.cancel()


def _listeners_of(room: Room) -> int:
    return len(room.subscribers) + len(room.joining)
