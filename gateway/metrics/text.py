"""All metrics of this process, in the text format of Prometheus."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gateway.metrics import (
    bus,
    cluster,
    connections,
    credentials,
    messages,
    process,
    requests,
    rooms,
    services,
    store,
    webhooks,
)
from gateway.state import GatewayState

__all__ = ["CONTENT_TYPE_LATEST", "render"]

_TOPICS = (
    connections.metrics,
    messages.metrics,
    rooms.metrics,
    store.metrics,
    bus.metrics,
    cluster.metrics,
    credentials.metrics,
    services.metrics,
    webhooks.metrics,
    requests.metrics,
    process.metrics,
)
"""In the order of the page."""


def render(state: GatewayState) -> bytes:
    """Return all metrics of this process."""
    registry = CollectorRegistry()
    registry.register(_Collected(state))
    ProcessCollector(namespace="gateway", registry=registry)
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, state: GatewayState) -> None:
        self._state = state

    def describe(self) -> Iterator[Metric]:
        """Describe nothing beforehand, since each name has one collector."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the numbers."""
        for metrics in _TOPICS:
            yield from metrics(self._state)
