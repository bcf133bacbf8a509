"""Services behind routes: calls to them, their workers, their breakers, and questions about rights."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.metrics.families import by_label, counters, gauge, gauges, histograms
from gateway.routes.reloader import OUTCOMES
from gateway.state import GatewayState
from gateway.upstream.authorize import OUTCOMES as OUTCOMES_OF_QUESTIONS
from gateway.upstream.breaker import State


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    yield from _of_routes(state)
    yield from _of_workers(state)
    yield from _of_authorize(state)
    yield from _of_calls(state)
    yield gauges(
        "upstream_breaker",
        "The circuit breaker: 0 closed, 1 half open, 2 open.",
        ("route",),
        by_label({route: _BREAKER[breaker] for route, breaker in state.upstreams.breakers.items()}),
    )
    yield counters(
        "upstream_effects",
        "What services asked for beside their answers, by route, effect and outcome.",
        ("route", "effect", "outcome"),
        state.upstreams.effects.outcomes.items(),
    )


def _of_routes(state: GatewayState) -> Iterator[Metric]:
    yield gauge("routes", "Routes to services that are in use.", len(state.routes.current.routes))
    yield counters(
        "routes_reloads",
        "Times that the routes file was read again; `refused` left the routes as they were.",
        ("result",),
        by_label({result: state.routes.outcomes[result] for result in OUTCOMES}),
    )


def _of_workers(state: GatewayState) -> Iterator[Metric]:
    figures = state.workers.figures
    yield gauge("workers", "Connections to this node that serve a route.", figures.connections)
    yield gauge("worker_places", "Messages that they take at a time.", figures.parallel)
    yield gauge("worker_messages_open", "Messages that they have and have not answered.", figures.busy)
    yield gauge("worker_messages_waiting", "Messages that wait for a free place at a worker.", figures.waiting)


def _of_authorize(state: GatewayState) -> Iterator[Metric]:
    service = state.authorize
    yield counters(
        "authorize_questions",
        "Questions about rights in rooms, by answer; `remembered`, `shared` and `open` sent no request.",
        ("outcome",),
        by_label({outcome: 0 if service is None else service.outcomes[outcome] for outcome in OUTCOMES_OF_QUESTIONS}),
    )
    remembered = 0 if service is None else service.remembered
    yield gauge("authorize_remembered", "Answers about rights in rooms that are remembered.", remembered)


_BREAKER: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}


def _of_calls(state: GatewayState) -> Iterator[Metric]:
    by_route = state.upstreams.figures.items()
    yield counters(
        "upstream_calls",
        "Messages for services, by route and outcome.",
        ("route", "outcome"),
        (((route, outcome), count) for route, figures in by_route for outcome, count in figures.outcomes.items()),
    )
    yield counters(
        "upstream_retries",
        "Messages of idempotent routes that went out again.",
        ("route",),
        (((route,), figures.retries) for route, figures in by_route),
    )
    yield gauges(
        "upstream_waiting",
        "Messages that wait for a service.",
        ("route",),
        (((route,), figures.in_progress) for route, figures in by_route),
    )
    yield histograms(
        "upstream_seconds",
        "How long services took, up to the whole answer.",
        ("route",),
        (((route,), figures.durations) for route, figures in by_route),
    )
