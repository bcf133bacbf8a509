"""Messages of clients: how many of each type, what has become of them, and how long they took."""

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from gateway.core.counters import Answered, AnsweredBy
from gateway.metrics.families import Labels, by_label, counter, counters, gauge, gauges, histograms
from gateway.state import GatewayState
from handlers.upstream import UpstreamHandler
from schemas.codes import Status

REFUSED = "refused"
UNREAD = "unread"
"""What stands for a type where a message has no handler, and where the gateway did not look for one."""


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    counts, names = state.counters, _names(state)
    came: Counter[str] = Counter()
    for kind, count in counts.handled.items():
        came[_name(kind, names)] += count
    yield counters(
        "messages",
        "Messages that came, by type; `refused` had no handler or a wrong envelope, and `upstream` a route.",
        ("type",),
        by_label(came),
    )
    answered: dict[Labels, Answered] = {
        (name, way): each
        for way, by_kind in (("socket", counts.answered), ("http", counts.called))
        for name, each in _by_name(by_kind, names).items()
    }
    yield counters(
        "answers",
        "Messages that have ended, by type, status and way. Status 0 stands for clients that were gone.",
        ("type", "status", "way"),
        _statuses(state, answered),
    )
    yield histograms(
        "handling_seconds", "How long messages took, up to their answers.", ("type", "way"), answered.items()
    )
    yield from _in_progress(state, came, answered)
    yield counter("stream_chunks", "Chunks of answers that went to clients.", counts.chunks)


def _in_progress(state: GatewayState, came: Counter[str], answered: Mapping[Labels, Answered]) -> Iterator[Metric]:
    for (name, _), each in answered.items():
        came[name] -= sum(each.counts)
    yield gauges("messages_open", "Messages that are being handled, by type.", ("type",), by_label(came))
    handlers = state.factory.handlers
    streams = sum(count for name, count in came.items() if name in handlers and handlers[name].streams)
    yield gauge("streams_open", "Of these, messages with handlers that stream.", streams)


def _names(state: GatewayState) -> Mapping[type, str]:
    return {handler: name for name, handler in state.factory.handlers.items()}


def _name(kind: type, names: Mapping[type, str]) -> str:
    # Of a route, not even the type: below a prefix, a client chooses it.
    return names.get(kind, "upstream" if issubclass(kind, UpstreamHandler) else REFUSED)


def _by_name(by_kind: AnsweredBy[type], names: Mapping[type, str]) -> dict[str, Answered]:
    found: dict[str, Answered] = {}
    for kind, answered in by_kind.items():
        found.setdefault(_name(kind, names), Answered()).include(answered)
    return found


def _statuses(state: GatewayState, answered: Mapping[Labels, Answered]) -> Iterator[tuple[Labels, float]]:
    known = {0, *Status, *(error.status for error in state.factory.registry.errors)}
    for (name, way), each in answered.items():
        statuses = _bounded(each.statuses, known)
        yield (name, str(int(Status.OK)), way), sum(each.counts) - statuses.total()
        yield from (((name, status, way), count) for status, count in statuses.items())
    for status, count in _bounded(state.counters.unread, known).items():
        yield (UNREAD, status, "socket"), count


def _bounded(statuses: Mapping[int, int], known: set[int]) -> Counter[str]:
    """Return counts by status. A service behind a route may answer with any of ten thousand own ones."""
    found: Counter[str] = Counter()
    for status, count in statuses.items():
        found[str(int(status)) if status in known else "own"] += count
    return found
