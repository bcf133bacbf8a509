"""All nodes together: how many there are, and whether they share presence and limits."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.metrics.families import counter, gauge
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    figures = state.cluster.figures()
    yield gauge("nodes", "Nodes that are alive, as this one sees it.", figures.nodes)
    yield gauge("shared_up", "1 while presence and limits count for all nodes, else 0.", int(figures.shared))
    yield counter("shared_lost", "Times that Redis did not answer about presence and limits.", figures.failures)
    yield counter("shared_guesses", "Questions that this node answered by itself meanwhile.", figures.guesses)
    yield gauge("shared_waiting", "Users and addresses with a state that is not written yet.", figures.unwritten)
    yield counter("nodes_buried", "Dead nodes that this one has cleared up after.", figures.reaped)
    yield counter("users_buried", "Users of dead nodes that this one has taken offline.", figures.taken_offline)
