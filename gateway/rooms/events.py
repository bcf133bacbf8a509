"""Makes the events of a room's log, for the bus and for the wire."""

from pydantic_core import to_json

from gateway.bus.base import Logged, OwnForm
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from gateway.transport import frames
from schemas.events.chat import ChatDeleted, ChatEdited, ChatMessage
from schemas.messages.chat import Message
from schemas.messages.rooms import LogEvent


def kind_of(row: MessageRow) -> type[ChatMessage | ChatEdited | ChatDeleted]:
    """Return the type of the event that brought a message into its current state."""
    if row.deleted_at is not None:
        return ChatDeleted
    return ChatMessage if row.changed == row.offset else ChatEdited


def log_event(room: RoomRow, row: MessageRow, viewer_id: str) -> LogEvent:
    """Return a message as the event for a client that resumes."""
    return LogEvent.model_construct(type=kind_of(row).type, data=row.to_schema(room, viewer_id))


def bus_event(room: RoomRow, row: MessageRow, own: Message | None = None) -> Logged:
    """Return a message as the event for all of the room, and for its sender with the `client_id`.

    `own` is the sender's form of the message, if it is already made.
    """
    kind, message = kind_of(row), own or row.to_schema(room, row.sender_id)
    own_form = None
    if row.client_id is not None:
        own_form = OwnForm(row.sender_id, _frame(kind, to_json(message, exclude_none=True)))
    return Logged(
        _frame(kind, to_json(message, exclude_none=True, exclude=_OF_THE_SENDER)),
        room=room.name,
        epoch=room.epoch,
        offset=row.changed,
        own=own_form,
    )


_OF_THE_SENDER = {"client_id"}


def _frame(kind: type[ChatMessage | ChatEdited | ChatDeleted], data: bytes) -> frames.Frame:
    # The same as `frames.event`, without a copy of the message as an event: this runs twice for every message.
    return frames.text_frame(b'{"type":"%b","data":%b}' % (kind.type.encode(), data))
