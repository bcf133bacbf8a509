"""Hooks: the events that wait for their receivers, and what has become of others."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.core.clock import milliseconds
from gateway.metrics.families import counters, gauges
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    hooks = state.webhooks.state()
    yield gauges(
        "hook_events_waiting",
        "Events in the store, by hook; `parked` ones have had their last attempt.",
        ("hook", "state"),
        (
            ((name, what), count)
            for name, hook in hooks.items()
            for what, count in (("waiting", hook.waiting), ("parked", hook.parked))
        ),
    )
    now = milliseconds(state.clock)
    yield gauges(
        "hook_oldest_seconds",
        "How long the oldest event has waited for its receiver, by hook; 0 without one.",
        ("hook",),
        (
            ((name,), 0 if hook.oldest_at is None else max(0.0, (now - hook.oldest_at) / 1000))
            for name, hook in hooks.items()
        ),
    )
    yield counters(
        "hook_events",
        "Attempts to deliver an event, events that were parked, and events dropped because too many waited, by hook.",
        ("hook", "outcome"),
        (((name, outcome), count) for name, hook in hooks.items() for outcome, count in hook.outcomes.items()),
    )
    yield gauges(
        "hook_disabled",
        "1 after the receiver of a hook has answered 410.",
        ("hook",),
        (((name,), int(hook.is_disabled)) for name, hook in hooks.items()),
    )
