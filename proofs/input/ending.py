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
    """Return how bytes end that begin with a frame. A wrong header needs a close, so nothing after it counts."""
    rest = data
    while len(rest) >= 2:
        opcode, size, start = rest[0] & 0x0F, *_size(rest)
        if not _is_right(rest, size):
            return Ending(waits=False, own_code=None)
        if len(rest) < start + 4 + size:
            break
        if opcode == CLOSE:
            return Ending(waits=False, own_code=_code(rest[start + 4 : start + 4 + size], rest[start : start + 4]))
        rest = rest[start + 4 + size :]
    return Ending(waits=bool(rest), own_code=None)


def _size(frame: bytes) -> tuple[int, int]:
    """Return the length of a frame's payload, and where its mask begins. A length that is cut counts as 0."""
    short = frame[1] & 0x7F
    start = {126: 4, 127: 10}.get(short, 2)
    if short < 126:
        return short, start
    return (int.from_bytes(frame[2:start]) if len(frame) >= start else 0), start


def _is_right(frame: bytes, size: int) -> bool:
    is_control = frame[0] & 0x08
    return (
        not frame[0] & 0x70
        and bool(frame[1] & 0x80)
        and frame[0] & 0x0F in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
        and not (is_control and (not frame[0] & 0x80 or frame[1] & 0x7F > 125))
        and size <= LARGEST
    )


def _code(payload: bytes, mask: bytes) -> int:
    return (
        int.from_bytes(bytes(byte ^ key for byte, key in zip(payload[:2], mask, strict=False))) if payload else NO_CODE
    )
