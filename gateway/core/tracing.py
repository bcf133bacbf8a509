"""Spans: what the gateway does, as a tracing system shows it.

`open_tracing` decides whether there are any. Without them nothing here costs more than a call of an empty function, and
OpenTelemetry is not imported. `gateway.core.opentelemetry` is the one module that knows it.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, TypeAlias

from gateway.core.start_error import StartError
from gateway.core.trace_context import TraceContext

logger = logging.getLogger(__name__)

Mode = Literal["auto", "on", "off"]
Kind = Literal["server", "client", "producer", "internal"]
Value: TypeAlias = str | int | bool
Attributes: TypeAlias = Mapping[str, Value]

_UNSET = {"ProxyTracerProvider", "NoOpTracerProvider"}
"""The providers of OpenTelemetry's API alone, which record nothing."""


class Span(Protocol):
    """A part of a trace."""

    @property
    def context(self) -> TraceContext | None:
        """Return its place in the trace, or None if nothing records."""

    def rename(self, name: str) -> None:
        """Change the name, which was not known at the start."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def note(self, event: str, attributes: Attributes) -> None:
        """Add an event at this moment."""

    def fail(self, kind: str, *, is_fault: bool = True) -> None:
        """Set the kind of an error. The span counts as failed if it is the gateway's or a service's fault."""

    def end(self) -> None:
        """End it. A second call does nothing."""


class Tracing(Protocol):
    """Makes spans."""

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
    ) -> Span:
        """Start a span below `parent`, or else below the current one; with `is_root`, below no other.

        `began` is the time of its start, in nanoseconds since 1970, if that is past.
        """

    def within(self, span: Span) -> AbstractContextManager[None]:
        """Return a context in which a span is the current one."""


class _NoSpan:
    """Takes the place of a span if there is no tracing."""

    context = None

    def rename(self, name: str) -> None:
        pass

    def set(self, attributes: Attributes) -> None:
        pass

    def note(self, event: str, attributes: Attributes) -> None:
        pass

    def fail(self, kind: str, *, is_fault: bool = True) -> None:
        pass

    def end(self) -> None:
        pass


class NoTracing:
    """Makes no spans."""

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
    ) -> Span:
        """Return what takes the place of a span."""
        return NO_SPAN

    def within(self, span: Span) -> AbstractContextManager[None]:
        """Return a context that changes nothing."""
        return nullcontext()


NO_SPAN = _NoSpan()
NO_TRACING = NoTracing()


def note_answer(span: Span, status: int) -> None:
    """Note the status of an answer that the gateway has got."""
    span.set({"http.response.status_code": status})
    if status >= 400:
        span.fail(str(status))


def open_tracing(mode: Mode) -> Tracing | None:
    """Return what makes spans, or None if nothing does. Raise `StartError` if it is to and cannot.

    `auto` means: if the process has set up a provider of OpenTelemetry, as `opentelemetry-instrument` does.
    """
    if mode == "off" or (mode == "auto" and not _has_provider()):
        return None
    try:
        from gateway.core.opentelemetry import OpenTelemetry
    except ImportError:
        raise StartError("GATEWAY_TRACING: this needs opentelemetry-api; pip install 'json-gateway[otel]'") from None
    if not _has_provider():
        logger.warning(
            "GATEWAY_TRACING is on, but this process has no tracer provider, so spans go nowhere;"
            " start it with: opentelemetry-instrument gateway serve"
        )
    return OpenTelemetry()


def _has_provider() -> bool:
    """Return whether the process has set up a provider. Import nothing: without an import, there is none."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and type(trace.get_tracer_provider()).__name__ not in _UNSET
