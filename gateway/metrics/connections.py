"""Connections: those that are open, that wait, that were refused and that have ended."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.core import descriptors
from gateway.metrics.families import counter, counters, gauge
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    yield gauge("connections", "Connections that are open.", state.connections.count)
    yield counter(
        "connections_refused",
        "Connections for which this process had no file descriptor.",
        descriptors.counters["descriptors"],
    )
    yield from _of_newcomers(state)
    yield counters(
        "connections_ended",
        "Connections that have ended, by the close code and reason; `gone` went by themselves.",
        ("code", "reason"),
        (
            (("", "gone") if close is None else (str(close.code), close.reason), count)
            for close, count in state.counters.ended.items()
        ),
    )


def _of_newcomers(state: GatewayState) -> Iterator[Metric]:
    newcomers = state.newcomers
    yield gauge("newcomers_waiting", "Clients that wait for their handshake.", newcomers.waiting)
    yield gauge("turns_waiting", "Joins, log-ins and ends of connections that wait for a turn.", state.turns.waiting)
    yield gauge("newcomer_seconds", "What this node needs for a newcomer and its joins.", newcomers.seconds_each)
    yield counters(
        "newcomers_refused",
        "Clients sent away before their handshake, by reason.",
        ("reason",),
        (((close.reason,), count) for close, count in newcomers.refused.items()),
    )
