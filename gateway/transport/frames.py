"""Frames: encoded once, in the form that goes over the wire, and shared by all connections that receive them."""

from collections.abc import Sequence
from struct import Struct

import orjson
from pydantic import BaseModel

from gateway.transport.encoded import ready_json
from schemas.base import Event
from schemas.codes import Close, Status
from schemas.encoding import encode
from schemas.errors import ErrorBody
from schemas.events.system import Bye

_TEXT = 0x81  # RFC 6455 §5.2: a whole text message in one frame


class Frame:
    """One JSON text as a complete WebSocket frame, or several such frames in sequence.

    A server never masks its frames (RFC 6455 §5.1), so the same bytes are right for every client. If a client reads too
    slowly, its outbox drops the droppable frames first.
    """

    __slots__ = ("count", "droppable", "wire")

    def __init__(self, wire: bytes, droppable: bool = False, count: int = 1) -> None:
        self.wire = wire
        self.droppable = droppable
        self.count = count

    @property
    def texts(self) -> list[bytes]:
        """Return the JSON texts, for servers that make the frames themselves."""
        texts = []
        start = 0
        while start < len(self.wire):
            begin, end = _bounds(self.wire, start)
            texts.append(self.wire[begin:end])
            start = end
        return texts

    @property
    def text(self) -> str:
        """Return the JSON of a single frame."""
        return self.texts[0].decode()


def text_frame(text: bytes, *, droppable: bool = False) -> Frame:
    """Return the frame of one JSON text."""
    return Frame(_header(len(text)) + text, droppable)


def bounded(frame: Frame, max_bytes: int) -> Frame:
    """Return the frame, or raise `ValueError` if it is longer than clients accept."""
    if len(frame.wire) > max_bytes:
        raise ValueError(f"expected a frame of at most {max_bytes} bytes, got {len(frame.wire)}")
    return frame


def joined(frames: Sequence[Frame]) -> Frame:
    """Combine frames into one, so that they need only one write."""
    if len(frames) == 1:
        return frames[0]
    return Frame(
        b"".join([frame.wire for frame in frames]),
        all(frame.droppable for frame in frames),
        sum(frame.count for frame in frames),
    )


_SHORT_HEADERS = tuple(bytes((_TEXT, length)) for length in range(126))
_medium_header = Struct("!BBH").pack
_long_header = Struct("!BBQ").pack


def _header(length: int) -> bytes:
    if length < 126:
        return _SHORT_HEADERS[length]
    if length < 65536:
        return _medium_header(_TEXT, 126, length)
    return _long_header(_TEXT, 127, length)


def _bounds(wire: bytes, start: int) -> tuple[int, int]:
    """Return where the text starts and ends of the frame at `start`."""
    length = wire[start + 1]
    size = {126: 2, 127: 8}.get(length, 0)
    begin = start + 2 + size
    return begin, begin + (int.from_bytes(wire[start + 2 : begin]) if size else length)


def json(value: object) -> bytes:
    """Encode a frame's content. Raise `ValueError` for None, and for a value that JSON cannot hold, such as NaN."""
    ready = ready_json(value)
    return encode(value) if ready is None else ready


_REPLY = b'{"type":"reply","id":%%b,"status":%d,"data":%%b}' % Status.OK


def reply(id: int | str, data: BaseModel) -> Frame:
    """Encode the reply to a message. Raise what `json` raises."""
    return text_frame(_REPLY % (orjson.dumps(id), json(data)))


def error(id: int | str | None, body: ErrorBody) -> Frame:
    """Encode an error: the answer to a message, or to a frame without a readable id."""
    return text_frame(b'{"type":"error","id":%b,%b' % (orjson.dumps(id), json(body)[1:]))


def event(event: Event, *, droppable: bool = False) -> Frame:
    """Encode an event. Raise what `json` raises."""
    data = json(event)
    return text_frame(b'{"type":"%b","data":%b}' % (event.type.encode(), data), droppable=droppable)


def bye(close: Close, after_ms: int | None = None) -> Frame:
    """Encode the last frame before a close."""
    return event(Bye(code=close.code, reason=close.reason, reconnect=close.reconnect, after_ms=after_ms))
