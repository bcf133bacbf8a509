"""Connections: how many are open, that wait, that were refused and that have ended, and what waits for each."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.core import descriptors
from gateway.metrics.families import by_label, counter, counters, gauge, histogram
from gateway.state import GatewayState
from gateway.transport.outbox import figures as outboxes
from schemas.codes import Close


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    connections = state.connections
    yield gauge("connections", "Connections that are open.", connections.count)
    yield gauge("connections_max", "Connections that this process may hold.", descriptors.max_connections())
    yield gauge("users", "Users that have a connection.", connections.user_count)
    yield counter("connections_opened", "Connections that were admitted after their log-in.", state.counters.opened)
    yield gauge("draining", "1 while the node sends its clients away, because it stops.", int(connections.is_draining))
    yield from _refused(state)
    yield from _of_newcomers(state)
    yield counters(
        "connections_ended",
        "Connections that have ended, by the close code and reason; `gone` went by themselves.",
        ("code", "reason"),
        (
            (("", "gone") if close is None else (str(close.code), close.reason), count)
            # A series that begins with 21 shows no growth, and there is an alert about slow consumers.
            for close, count in ({Close.SLOW_CONSUMER: 0} | state.counters.ended).items()
        ),
    )
    yield from _of_outboxes()


def _refused(state: GatewayState) -> Iterator[Metric]:
    yield counter(
        "connections_refused",
        "Connections for which this process had no file descriptor.",
        descriptors.counters["descriptors"],
    )
    yield counters(
        "handshakes_refused",
        "Handshakes that were refused, by the status of the error.",
        ("status",),
        by_label({str(int(status)): count for status, count in state.counters.handshakes_refused.items()}),
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


def _of_outboxes() -> Iterator[Metric]:
    waiting = tuple(outboxes.waiting)
    yield gauge("outboxes_waiting", "Clients that do not read at this moment, so that frames wait.", len(waiting))
    size = sum(outbox.waiting_bytes for outbox in waiting)
    yield gauge("outbox_bytes", "What waits for all of these clients.", size)
    fullest = max((outbox.backlog for outbox in waiting), default=0)
    yield gauge("outbox_fullest", "How full the fullest outbox is; at 1, its client is a slow consumer.", fullest)
    yield histogram(
        "outbox_peak", "How full an outbox was when its client read again, or was cut off at 1.", outboxes.peaks
    )
    yield counter("events_dropped", "Droppable events that a half-full outbox did not take.", outboxes.dropped)
