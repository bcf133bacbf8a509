"""Spans of OpenTelemetry. This is the only module that knows it, and only its API: an operator chooses the SDK.

Only the headers of W3C Trace Context are read and written. Baggage would carry a client's words to every service.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from gateway import __version__
from gateway.core.trace_context import TraceContext, current_trace
from gateway.core.tracing import Attributes, Kind, Span

_KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "internal": SpanKind.INTERNAL,
}


class RecordedSpan:
    """A span of OpenTelemetry."""

    __slots__ = ("_has_ended", "context", "span")

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        self.context = _ours(span.get_span_context())
        self._has_ended = False

    def rename(self, name: str) -> None:
        """Change the name."""
        self.span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""
        self.span.set_attributes(dict(attributes))

    def note(self, event: str, attributes: Attributes) -> None:
        """Add an event at this moment."""
        self.span.add_event(event, dict(attributes))

    def fail(self, kind: str, *, is_fault: bool = True) -> None:
        """Set the kind of an error, without a word of its text."""
        self.span.set_attribute("error.type", kind)
        if is_fault:
            self.span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        """End it. OpenTelemetry would log a second end."""
        if not self._has_ended:
            self._has_ended = True
            self.span.end()


class OpenTelemetry:
    """Makes spans with the provider of the process."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("json-gateway", __version__)

    def start(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        parent: TraceContext | None = None,
        is_root: bool = False,
        links: Sequence[TraceContext] = (),
        began: int | None = None,
    ) -> RecordedSpan:
        """Start a span below `parent`, or else below the current one; with `is_root`, below no other."""
        if is_root:
            above: Context | None = Context()
        elif parent is not None:
            above = trace.set_span_in_context(NonRecordingSpan(_theirs(parent)), Context())
        else:
            above = None
        span = self._tracer.start_span(
            name,
            above,
            _KINDS[kind],
            dict(attributes),
            [Link(_theirs(each)) for each in links],
            began,
        )
        return RecordedSpan(span)

    @contextmanager
    def within(self, span: Span) -> Iterator[None]:
        """Let a span be the current one, for the gateway and for what an application traces itself."""
        assert isinstance(span, RecordedSpan)  # noqa: S101 - this object has made it
        token = contexts.attach(trace.set_span_in_context(span.span))
        before = current_trace.set(span.context or current_trace.get())
        try:
            yield
        finally:
            current_trace.reset(before)
            contexts.detach(token)


def _ours(context: SpanContext) -> TraceContext | None:
    if not context.is_valid:
        return None
    ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return TraceContext(*ids, f"{int(context.trace_flags) & 1:02x}", context.trace_state.to_header())


def _theirs(context: TraceContext) -> SpanContext:
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(context.flags, 16)),
        trace_state=TraceState.from_header([context.state] if context.state else []),
    )
