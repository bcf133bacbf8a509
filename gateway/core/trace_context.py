"""W3C Trace Context (level 1): which trace the current work belongs to, as headers carry it from program to program.

Nothing here needs OpenTelemetry. So the gateway passes a client's trace on to services without that package, too.
"""

import re
import secrets
from contextvars import ContextVar
from typing import Any, NamedTuple

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

MAX_STATE = 512
"""Characters of a `tracestate` that goes on: as many as the standard asks for (§3.3.1.5). A longer one is left out."""
MAX_STATE_MEMBERS = 32

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KEY = r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"{_KEY}={_VALUE}")


class TraceContext(NamedTuple):
    """A span of a trace, here or in another program."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    flags: str = "01"
    """2 hexadecimal digits; the lowest bit says that the trace is recorded."""
    state: str = ""
    """What tracing systems add for themselves, as in `tracestate`."""

    @property
    def traceparent(self) -> str:
        """Return the value of the header."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def headers(self) -> dict[str, str]:
        """Return the headers of a request that is part of the trace."""
        state = {TRACESTATE: self.state} if self.state else {}
        return {TRACEPARENT: self.traceparent, **state}


current_trace: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)
"""The span that the current work belongs to, if there is one: the gateway's own, or one that a client has named."""


def current_traceparent() -> str | None:
    """Return the `traceparent` of the current span, or None if there is none."""
    context = current_trace.get()
    return None if context is None else context.traceparent


def parse(traceparent: object, tracestate: str = "") -> TraceContext | None:
    """Return the span that a client has named, or None for a value that the standard says to ignore."""
    found = _PARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    # A later version may add parts. The first four of these keep their meaning.
    if version == "ff" or (version == "00" and rest) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceContext(trace_id, span_id, f"{int(flags, 16) & 1:02x}", _checked_state(tracestate))


def from_headers(headers: list[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the span that a request names in its headers, or None. Two `traceparent` are as good as none."""
    parents = [value for name, value in headers if name == b"traceparent"]
    if len(parents) != 1:
        return None
    states = b",".join(value for name, value in headers if name == b"tracestate")
    return parse(parents[0].decode("latin-1"), states.decode("latin-1"))


def outgoing(context: TraceContext | None, message_id: str) -> dict[str, str]:
    """Return the headers of one request: of the span passed in, of the current one, or of a new trace.

    A new trace has the digits of the message's id, so that a service finds one by the other.
    """
    context = context or current_trace.get()
    if context is None:
        context = TraceContext(message_id.removeprefix("msg_"), secrets.token_hex(8))
    return context.headers()


def from_message(headers: Any) -> dict[str, str]:
    """Return the headers that another node has sent along, or none if they are not as they must be."""
    found = parse(headers.get(TRACEPARENT), str(headers.get(TRACESTATE, ""))) if isinstance(headers, dict) else None
    return {} if found is None else found.headers()


def _checked_state(state: str) -> str:
    """Return a `tracestate` without its empty members, or nothing if it is wrong: it goes into others' headers."""
    members = [member.strip(" \t") for member in state.split(",")] if 0 < len(state) <= 2 * MAX_STATE else []
    members = [member for member in members if member]
    is_right = len(members) <= MAX_STATE_MEMBERS and all(map(_MEMBER.fullmatch, members))
    checked = ",".join(members)
    return checked if is_right and len(checked) <= MAX_STATE else ""
