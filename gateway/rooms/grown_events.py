"""Puts the event of a message that has grown together: from its last whole event and the pieces since then.

The bus brings pieces alone. What a node remembers of a room holds whole messages, for clients that join or resume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.bus.base import Logged, OwnForm
from gateway.store.messages import offset_of
from gateway.transport.frames import Frame, text_frame
from schemas.events.chat import ChatAppended, ChatEdited

_PIECE = b'{"type":"%b"' % ChatAppended.type.encode()
_DATA = b'"data":'
_ID = b'"data":{"id":"'
"""Where a message's id begins: its first key, in the order of the schema."""

_WHOLE = b'{"type":"%b","data":%%b}' % ChatEdited.type.encode()


@dataclass(frozen=True, slots=True)
class Piece:
    """What an event adds to a message."""

    offset: int
    text: str
    is_last: bool


def is_piece(event: Logged) -> bool:
    """Return whether an event brings a piece of a message, and not the whole."""
    return event.frame.texts[0].startswith(_PIECE)


def data_in(text: bytes) -> bytes:
    """Return the data in the text of an event."""
    return text.partition(_DATA)[2][:-1]


def message_of(event: Logged) -> int:
    """Return the offset of the message that an event is about."""
    message_id = event.frame.texts[0].partition(_ID)[2].partition(b'"')[0].decode()
    return offset_of(message_id, event.epoch) or event.offset


def piece_of(event: Logged) -> Piece | None:
    """Return the piece that an event brings, or None for one that no gateway has made."""
    try:
        data = _data_of(event.frame)
        return Piece(event.offset, str(data["text"]), is_last="done" in data)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def with_pieces(whole: Logged, pieces: Sequence[Piece]) -> Logged:
    """Return the event of the whole message, as a client that resumes gets it."""
    own = whole.own
    return Logged(
        _grown(whole.frame, pieces),
        whole.room,
        whole.epoch,
        pieces[-1].offset,
        None if own is None else OwnForm(own.user_id, _grown(own.frame, pieces)),
    )


def _grown(frame: Frame, pieces: Sequence[Piece]) -> Frame:
    message = _data_of(frame)
    message["text"] = "".join([message["text"], *(piece.text for piece in pieces)])
    message["changed"] = pieces[-1].offset
    if pieces[-1].is_last:
        deleted = message.pop("deleted")  # the last key, in the order of the schema
        message |= {"done": True, "deleted": deleted}
    return text_frame(_WHOLE % orjson.dumps(message))


def _data_of(frame: Frame) -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(data_in(frame.texts[0]))
    return data
