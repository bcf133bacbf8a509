"""Makes the events of a room's log and of its members, for the bus and for the wire."""

from gateway.bus.base import BusEvent, Logged, MemberJoined, MemberLeft, OwnForm, RoomEnded, ToRoom, ToUser
from gateway.rooms.encoding import message_json, piece_json
from gateway.rooms.growth import Grown
from gateway.rooms.membership_changes import Departure, Entered
from gateway.rooms.message_changes import Written
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.transport import frames
from schemas.events.chat import ChatAppended, ChatDeleted, ChatEdited, ChatMessage
from schemas.events.rooms import RoomDeleted, RoomJoined, RoomLeft, RoomRole


def kind_of(row: MessageRow) -> type[ChatMessage | ChatEdited | ChatDeleted]:
    """Return the type of the event that brought a message into its current state."""
    if row.deleted_at is not None:
        return ChatDeleted
    return ChatMessage if row.changed == row.offset else ChatEdited


def event_json(room: RoomRow, row: MessageRow, viewer_id: str) -> bytes:
    """Return a message as the event for a client that resumes."""
    return _event(kind_of(row).type.encode(), message_json(room, row, viewer_id))


def bus_event(room: RoomRow, row: MessageRow) -> Logged:
    """Return a message as the event for all of the room, and for its sender with the `client_id`."""
    kind, own = kind_of(row).type.encode(), None
    if row.client_id is not None:
        own = OwnForm(row.sender_id, _frame(kind, message_json(room, row, row.sender_id)))
    return Logged(_frame(kind, message_json(room, row)), room=room.name, epoch=room.epoch, offset=row.changed, own=own)


def written_event(written: Written) -> Logged:
    """Return the event about a change of a message, of the JSON that its reply has too."""
    room, row = written.room, written.message
    kind, own = kind_of(row).type.encode(), None
    if row.client_id is not None:
        own = OwnForm(row.sender_id, _frame(kind, written.own_json))
    return Logged(_frame(kind, written.json), room=room.name, epoch=room.epoch, offset=row.changed, own=own)


def grown_event(grown: Grown) -> Logged:
    """Return the event about a message that has grown: the piece alone, which is the same for all."""
    room, row = grown.room, grown.message
    frame = _frame(ChatAppended.type.encode(), piece_json(room, row, grown.at, grown.text))
    return Logged(frame, room=room.name, epoch=room.epoch, offset=row.changed)


def joined_event(entered: Entered) -> MemberJoined:
    """Return the event about a new member."""
    room = entered.room
    # It may be dropped as presence is: a crowd that comes at once would be announced to itself.
    frame = frames.event(RoomJoined(room=room.name, user=entered.user), droppable=True)
    return MemberJoined(frame, room.name, room.epoch, entered.user_id, room.arrivals)


def departure_events(departure: Departure) -> list[BusEvent]:
    """Return the events about the end of a membership or an invitation."""
    room, events = departure.room, list[BusEvent]()
    left = frames.event(RoomLeft(room=room.name, user=departure.user, by=departure.by))
    if room.role is not None:
        events.append(MemberLeft(left, room.name, room.epoch, departure.user_id, departure.departures))
    elif room.invited:
        events.append(ToUser(left, departure.user_id))
    if departure.heir is not None:
        role = RoomRole(room=room.name, user=departure.heir, role="owner")
        events.append(ToRoom(frames.event(role), room.name))
    return events


def ended_event(room: str, epoch: str) -> RoomEnded:
    """Return the event about a room that was deleted."""
    return RoomEnded(frames.event(RoomDeleted(room=room)), room, epoch)


def _frame(kind: bytes, data: bytes) -> frames.Frame:
    return frames.text_frame(_event(kind, data))


def _event(kind: bytes, data: bytes) -> bytes:
    return b'{"type":"%b","data":%b}' % (kind, data)
