"""Rooms: what this node hears and remembers of them, and what it has missed."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.connections.fanout import deliveries
from gateway.metrics.families import counter, gauge, histogram
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    hub = state.hub
    yield gauge("rooms_heard", "Rooms with a listener on this node, now or not long ago.", hub.room_count)
    yield gauge("subscriptions", "Rooms that connections hear, counted for each connection.", hub.subscription_count)
    yield counter("events_delivered", "Events that went to a connection, each counted once.", deliveries.events)
    yield histogram("fanout_seconds", "How long events took to all of a crowd of listeners.", deliveries.seconds)
    yield gauge("room_memory_bytes", "What these rooms remember.", hub.memory.size)
    yield counter("joins_remembered", "Joins and resumes that were answered from memory.", hub.memory.hits)
    yield counter("joins_read", "Joins and resumes that needed the store.", hub.memory.misses)
    yield counter("gaps_read", "Reads from the store of what the bus did not deliver.", hub.repair.gaps_read)
    yield counter("rooms_behind", "Times that a room was found to be behind the store.", hub.repair.rooms_behind)
    yield counter("resyncs", "Times that the listeners of a room had to join anew.", hub.repair.resyncs)
