"""Makes the events of a room's log, for the bus and for the wire."""

from gateway.bus.base import Logged, OwnForm
from gateway.rooms.encoding import message_json
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.transport import frames
from schemas.events.chat import ChatDeleted, ChatEdited, ChatMessage
from schemas.messages.rooms import LogEvent


def kind_of(row: MessageRow) -> type[ChatMessage | ChatEdited | ChatDeleted]:
    """Return the type of the event that brought a message into its current state."""
    if row.deleted_at is not None:
        return ChatDeleted
    return ChatMessage if row.changed == row.offset else ChatEdited


def log_event(room: RoomRow, row: MessageRow, viewer_id: str) -> LogEvent:
    """Return a message as the event for a client that resumes."""
    return LogEvent.model_construct(type=kind_of(row).type, data=row.to_schema(room, viewer_id))


def bus_event(room: RoomRow, row: MessageRow) -> Logged:
    """Return a message as the event for all of the room, and for its sender with the `client_id`."""
    kind, own = kind_of(row).type.encode(), None
    if row.client_id is not None:
        own = OwnForm(row.sender_id, _frame(kind, message_json(room, row, row.sender_id)))
    return Logged(_frame(kind, message_json(room, row)), room=room.name, epoch=room.epoch, offset=row.changed, own=own)


def _frame(kind: bytes, data: bytes) -> frames.Frame:
    return frames.text_frame(b'{"type":"%b","data":%b}' % (kind, data))
