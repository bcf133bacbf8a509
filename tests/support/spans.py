"""A provider of OpenTelemetry's SDK in this process, and the spans that it has recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from tests.support.waiting import until


class Recorded:
    """What a tracing system gets."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider = provider
        self._exporter = exporter

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name."""
        return [span for span in self.all if span.name == name]

    async def expect(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Wait until there are so many spans of a name, and return them. There must be no more."""
        try:
            await until(lambda: len(self.named(name)) >= count)
        except TimeoutError:
            raise AssertionError(
                f"expected {count} spans named {name}, got {[span.name for span in self.all]}"
            ) from None
        assert len(self.named(name)) == count
        return self.named(name)

    async def one(self, name: str) -> ReadableSpan:
        """Wait for the one span of a name."""
        [span] = await self.expect(name)
        return span

    def forget(self) -> None:
        """Forget the spans so far."""
        self._exporter.clear()

    @property
    def words(self) -> str:
        """All that the spans say, as one text."""
        return "\n".join(span.to_json() for span in self.all)


@contextmanager
def recording(monkeypatch: pytest.MonkeyPatch, sampler: Sampler | None = None) -> Iterator[Recorded]:
    """Let this process have a provider, as after `opentelemetry-instrument`. The real one can be set only once."""
    provider, exporter = TracerProvider(sampler=sampler, shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield Recorded(provider, exporter)
    provider.shutdown()


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Return the ids of a span's trace and of itself, as headers have them."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def parent(span: ReadableSpan) -> str | None:
    """Return the id of the span above."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"
