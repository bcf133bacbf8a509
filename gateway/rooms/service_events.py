"""Events that a service publishes: with a type and data of its own, to rooms, users or all. No log keeps them."""

import re
from typing import Any

import orjson

from gateway.transport import frames
from gateway.transport.frames import Frame
from handlers.errors import TooLarge, ValidationFailed
from handlers.registry import BUILT_IN
from schemas.base import ANSWERS, EVENT_TYPE, FieldError

OWN_EVENTS = frozenset(event.type for event in BUILT_IN.events)
"""The types of the gateway's own events, which no service may send: a client trusts what they say."""


def event_frame(type: str, data: Any, max_bytes: int) -> Frame:
    """Return the frame of a service's event.

    Raise `ValidationFailed` for a type that the protocol cannot carry or that is the gateway's own, and `TooLarge` for
    a frame that is longer than clients accept.
    """
    check_event_type(type)
    frame = frames.text_frame(b'{"type":"%b","data":%b}' % (type.encode(), orjson.dumps(data)))
    if len(frame.wire) > max_bytes:
        raise TooLarge(len(frame.wire), max_bytes)
    return frame


def check_event_type(type: str) -> None:
    """Raise `ValidationFailed` for a type that no event of a service may have."""
    if re.fullmatch(EVENT_TYPE, type) is None or type in ANSWERS:
        raise _wrong(
            'expected 1 to 64 visible ASCII characters but no " and no \\, and none of `reply`, `error` and `chunk`'
        )
    if type in OWN_EVENTS:
        raise _wrong("expected a type of your own, such as orders.changed; this one is the gateway's")


def _wrong(expected: str) -> ValidationFailed:
    return ValidationFailed((FieldError(field="event.type", message=expected),))
