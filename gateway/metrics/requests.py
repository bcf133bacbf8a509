"""Requests of the HTTP API, by route."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.metrics.families import counters, histograms
from gateway.state import GatewayState

NO_ROUTE = "none"


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    by_route = state.counters.requests
    yield counters(
        "requests",
        "Requests of the HTTP API, by route and HTTP status.",
        ("route", "status"),
        (
            ((route or NO_ROUTE, str(status)), count)
            for route, answered in by_route.items()
            for status, count in answered.statuses.items()
        ),
    )
    yield histograms(
        "request_seconds",
        "How long requests took, up to the head of the answer, by route.",
        ("route",),
        (((route or NO_ROUTE,), answered) for route, answered in by_route.items()),
    )
