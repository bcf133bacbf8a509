"""The bus between the nodes: what goes over it, what is lost, and how late it comes."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.bus.codec import REASONS
from gateway.metrics.families import by_label, counter, counters, gauge, histogram
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    bus = state.bus
    counts = bus.counters
    yield gauge("bus_up", "1 while this node hears the others and they it, else 0.", int(bus.is_up))
    yield gauge("bus_waiting", "Messages that wait to be published.", bus.waiting)
    most = state.settings.bus_queue if bus.is_shared else 0
    yield gauge("bus_waiting_max", "How many may wait before more are dropped; 0 without a shared bus.", most)
    yield histogram("bus_lag_seconds", "How long messages took over the bus and back, now and then.", counts.lag)
    yield counter("bus_published", "Messages published to other nodes.", counts.published)
    yield counter("bus_received", "Messages of other nodes.", counts.received)
    yield counter("bus_dropped", "Messages not published: too much waited, or it broke.", counts.dropped)
    yield counter("bus_reconnects", "Times that the bus came back.", max(0, counts.connects - 1))
    yield counters(
        "bus_rejected",
        "Messages on our channels that were not understood, by reason.",
        ("reason",),
        by_label({reason: counts.rejected[reason] for reason in REASONS}),
    )
