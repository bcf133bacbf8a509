"""What the last bytes of a client ask of a gateway: an answer, a close, or nothing, as they end within a frame."""

from dataclasses import dataclass

from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

LARGEST = 2**20
"""Bytes of a frame that no gateway of a proof takes."""

NO_CODE = 1005


@dataclass(frozen=True)
class Ending:
    """How a client's bytes end."""

    waits: bool
    """Whether they end within a frame, so that silence is a right answer."""
    own_code: int | None
    """The code of the client's close frame, which a gateway sends back."""


def ending_of(data: bytes) -> Ending:
    """Return how bytes end that begin with a frame. A wrong frame needs a close, so nothing after it counts.

    A gateway may read all of a wrong frame before it closes, but not one whose length is beyond its limit.
    """
    rest = data
    while len(rest) >= 2:
        size, start = _size(rest)
        if size > LARGEST:
            return Ending(waits=False, own_code=None)
        begin = start + (4 if rest[1] & 0x80 else 0)
        if len(rest) < begin + size:
            break
        if not _is_right(rest):
            return Ending(waits=False, own_code=None)
        if rest[0] & 0x0F == CLOSE:
            return Ending(waits=False, own_code=_code(rest[begin : begin + size], rest[start:begin]))
        rest = rest[begin + size :]
    return Ending(waits=bool(rest), own_code=None)


def _size(frame: bytes) -> tuple[int, int]:
    """Return the length of a frame's payload, and where its mask begins. A length that is cut counts as 0."""
    short = frame[1] & 0x7F
    start = {126: 4, 127: 10}.get(short, 2)
    if short < 126:
        return short, start
    return (int.from_bytes(frame[2:start]) if len(frame) >= start else 0), start


def _is_right(frame: bytes) -> bool:
    is_control = frame[0] & 0x08
    return (
        not frame[0] & 0x70
        and bool(frame[1] & 0x80)
        and frame[0] & 0x0F in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
        and not (is_control and (not frame[0] & 0x80 or frame[1] & 0x7F > 125))
    )


def _code(payload: bytes, mask: bytes) -> int:
    return (
        int.from_bytes(bytes(byte ^ key for byte, key in zip(payload[:2], mask, strict=False))) if payload else NO_CODE
    )
