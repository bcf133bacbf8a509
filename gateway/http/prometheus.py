"""The gateway's metrics in the format of Prometheus.

The module stores nothing: it collects numbers that their owners count anyway, at each request. No label ever contains
a client's text: a message type is the name of an existing handler.
"""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.core import descriptors, faults
from gateway.routes.reloader import OUTCOMES
from gateway.state import GatewayState
from gateway.upstream.authorize import OUTCOMES as OUTCOMES_OF_QUESTIONS
from gateway.upstream.breaker import State
from gateway.upstream.figures import BUCKETS
from handlers.upstream import UpstreamHandler

__all__ = ["CONTENT_TYPE_LATEST", "render"]


def render(state: GatewayState) -> bytes:
    """Return all metrics of this process, in the text format of Prometheus."""
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
        yield from _of_clients(self._state)
        yield from _of_rooms(self._state)
        yield _of_store(self._state)
        yield from _of_bus(self._state)
        yield from _of_cluster(self._state)
        yield from _of_webhooks(self._state)
        yield from _of_routes(self._state)
        yield from _of_workers(self._state)
        yield from _of_authorize(self._state)
        yield from _of_upstreams(self._state)


def _of_clients(state: GatewayState) -> Iterator[Metric]:
    yield _gauge("connections", "Connections that are open.", state.connections.count)
    refused = descriptors.counters["descriptors"]
    yield _counter("connections_refused", "Connections for which this process had no file descriptor.", refused)
    yield from _of_newcomers(state)
    ended = CounterMetricFamily(
        "gateway_connections_ended",
        "Connections that have ended, by the close code and reason; `gone` went by themselves.",
        labels=("code", "reason"),
    )
    for close, count in state.counters.ended.items():
        ended.add_metric(("", "gone") if close is None else (str(close.code), close.reason), count)
    yield ended
    handled = CounterMetricFamily(
        "gateway_messages",
        "Messages that came, by type; `refused` had no handler or a wrong envelope, and `upstream` a route.",
        labels=("type",),
    )
    names = {handler: name for name, handler in state.factory.handlers.items()} | {UpstreamHandler: "upstream"}
    for kind, count in state.counters.handled.items():
        handled.add_metric((names.get(kind, "refused"),), count)
    yield handled
    contained = CounterMetricFamily(
        "gateway_faults_contained",
        "Faults that a shared loop has contained, by loop: each is a mistake of the gateway, and in the log.",
        labels=("loop",),
    )
    for loop, count in faults.counters.items():
        contained.add_metric((loop,), count)
    yield contained


def _of_newcomers(state: GatewayState) -> Iterator[Metric]:
    newcomers = state.newcomers
    yield _gauge("newcomers_waiting", "Clients that wait for their handshake.", newcomers.waiting)
    yield _gauge("turns_waiting", "Joins, log-ins and ends of connections that wait for a turn.", state.turns.waiting)
    yield _gauge("newcomer_seconds", "What this node needs for a newcomer and its joins.", newcomers.seconds_each)
    refused = CounterMetricFamily(
        "gateway_newcomers_refused",
        "Clients sent away before their handshake, by reason.",
        labels=("reason",),
    )
    for close, count in newcomers.refused.items():
        refused.add_metric((close.reason,), count)
    yield refused


def _of_rooms(state: GatewayState) -> Iterator[Metric]:
    hub = state.hub
    yield _gauge("rooms_heard", "Rooms with a listener on this node, now or not long ago.", hub.room_count)
    yield _gauge("room_memory_bytes", "What these rooms remember.", hub.memory.size)
    yield _counter("joins_remembered", "Joins and resumes that were answered from memory.", hub.memory.hits)
    yield _counter("joins_read", "Joins and resumes that needed the store.", hub.memory.misses)
    yield _gauge("writes_waiting", "Messages, memberships and read marks that wait for the store.", state.log.waiting)
    yield _counter("gaps_read", "Reads from the store of what the bus did not deliver.", hub.repair.gaps_read)
    yield _counter("rooms_behind", "Times that a room was found to be behind the store.", hub.repair.rooms_behind)
    yield _counter("resyncs", "Times that the listeners of a room were told to join anew.", hub.repair.resyncs)


def _of_store(state: GatewayState) -> Metric:
    takes_writes = int(state.database.health.takes_writes)
    return _gauge("store_writable", "1 while the store takes writes, else 0.", takes_writes)


def _of_bus(state: GatewayState) -> Iterator[Metric]:
    bus = state.bus
    yield _gauge("bus_up", "1 while this node hears the others and they it, else 0.", int(bus.is_up))
    yield _gauge("bus_waiting", "Messages that wait to be published.", bus.waiting)
    yield _counter("bus_published", "Messages published to other nodes.", bus.counters.published)
    yield _counter("bus_received", "Messages of other nodes.", bus.counters.received)
    yield _counter("bus_dropped", "Messages not published: too much waited, or it broke.", bus.counters.dropped)
    yield _counter("bus_reconnects", "Times that the bus came back.", max(0, bus.counters.connects - 1))
    rejected = CounterMetricFamily(
        "gateway_bus_rejected", "Messages on our channels that were not understood, by reason.", labels=("reason",)
    )
    for reason, count in bus.counters.rejected.items():
        rejected.add_metric((reason,), count)
    yield rejected


def _of_cluster(state: GatewayState) -> Iterator[Metric]:
    figures = state.cluster.figures()
    yield _gauge("nodes", "Nodes that are alive, as this one sees it.", figures.nodes)
    yield _gauge("shared_up", "1 while presence and limits are those of all nodes, else 0.", int(figures.shared))
    yield _counter("shared_lost", "Times that Redis did not answer about presence and limits.", figures.failures)
    yield _counter("shared_guesses", "Questions that this node answered by itself meanwhile.", figures.guesses)
    yield _gauge("shared_waiting", "Users and addresses with a state that is not written yet.", figures.unwritten)
    yield _counter("nodes_buried", "Dead nodes that this one has cleared up after.", figures.reaped)
    yield _counter("users_buried", "Users of dead nodes that this one has taken offline.", figures.taken_offline)


def _of_routes(state: GatewayState) -> Iterator[Metric]:
    yield _gauge("routes", "Routes to services that are in use.", len(state.routes.current.routes))
    reloads = CounterMetricFamily(
        "gateway_routes_reloads",
        "Times that the routes file was read again; `refused` left the routes as they were.",
        labels=("result",),
    )
    for result in OUTCOMES:
        reloads.add_metric((result,), state.routes.outcomes[result])
    yield reloads


def _of_workers(state: GatewayState) -> Iterator[Metric]:
    figures = state.workers.figures
    yield _gauge("workers", "Connections to this node that serve a route.", figures.connections)
    yield _gauge("worker_places", "Messages that they take at a time.", figures.parallel)
    yield _gauge("worker_messages_open", "Messages that they have and have not answered.", figures.busy)
    yield _gauge("worker_messages_waiting", "Messages that wait for a free place at a worker.", figures.waiting)


def _of_authorize(state: GatewayState) -> Iterator[Metric]:
    asked = CounterMetricFamily(
        "gateway_authorize_questions",
        "Questions about rights in rooms, by answer; `remembered`, `shared` and `open` sent no request.",
        labels=("outcome",),
    )
    for outcome in OUTCOMES_OF_QUESTIONS:
        asked.add_metric((outcome,), 0 if state.authorize is None else state.authorize.outcomes[outcome])
    yield asked
    remembered = 0 if state.authorize is None else state.authorize.remembered
    yield _gauge("authorize_remembered", "Answers about rights in rooms that are remembered.", remembered)


def _of_webhooks(state: GatewayState) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "gateway_hook_events_waiting",
        "Events in the store, by hook; `parked` ones have had their last attempt.",
        labels=("hook", "state"),
    )
    events = CounterMetricFamily(
        "gateway_hook_events",
        "Attempts to deliver an event, events that were parked, and events dropped because too many waited, by hook.",
        labels=("hook", "outcome"),
    )
    disabled = GaugeMetricFamily(
        "gateway_hook_disabled", "1 after the receiver of a hook has answered 410.", labels=("hook",)
    )
    for name, hook in state.webhooks.state().items():
        waiting.add_metric((name, "waiting"), hook.waiting)
        waiting.add_metric((name, "parked"), hook.parked)
        disabled.add_metric((name,), int(hook.is_disabled))
        for outcome, count in hook.outcomes.items():
            events.add_metric((name, outcome), count)
    yield from (waiting, events, disabled)


def _of_upstreams(state: GatewayState) -> Iterator[Metric]:
    yield from _of_upstream_calls(state)
    breakers = GaugeMetricFamily(
        "gateway_upstream_breaker", "The circuit breaker: 0 closed, 1 half open, 2 open.", labels=("route",)
    )
    for route, breaker in state.upstreams.breakers.items():
        breakers.add_metric((route,), _BREAKER[breaker])
    yield breakers
    effects = CounterMetricFamily(
        "gateway_upstream_effects",
        "What services asked for beside their answers, by route, effect and outcome.",
        labels=("route", "effect", "outcome"),
    )
    for labels, count in state.upstreams.effects.outcomes.items():
        effects.add_metric(labels, count)
    yield effects


_BREAKER: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}


def _of_upstream_calls(state: GatewayState) -> Iterator[Metric]:
    calls = CounterMetricFamily(
        "gateway_upstream_calls", "Messages for services, by route and outcome.", labels=("route", "outcome")
    )
    retries = CounterMetricFamily(
        "gateway_upstream_retries", "Messages of idempotent routes that went out again.", labels=("route",)
    )
    waiting = GaugeMetricFamily("gateway_upstream_waiting", "Messages that wait for a service.", labels=("route",))
    seconds = HistogramMetricFamily(
        "gateway_upstream_seconds", "How long services took, up to the whole answer.", labels=("route",)
    )
    bounds = (*map(str, BUCKETS), "+Inf")
    for route, figures in state.upstreams.figures.items():
        for outcome, count in figures.outcomes.items():
            calls.add_metric((route, outcome), count)
        retries.add_metric((route,), figures.retries)
        waiting.add_metric((route,), figures.in_progress)
        buckets = list(zip(bounds, accumulate(figures.durations.counts), strict=True))
        seconds.add_metric((route,), buckets, figures.durations.total)
    yield from (calls, retries, waiting, seconds)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gateway_{name}", meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(f"gateway_{name}", meaning, value=value)
