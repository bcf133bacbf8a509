"""The store: whether it takes writes, what waits for it, and how long it takes."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.metrics.families import gauge
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    takes_writes = int(state.database.health.takes_writes)
    yield gauge("store_writable", "1 while the store takes writes, else 0.", takes_writes)
    yield gauge("writes_waiting", "Messages, memberships and read marks that wait for the store.", state.log.waiting)
