"""The process: the lag of its event loop, its pauses, and the regular work in the background."""

import platform
import time
from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway import __version__
from gateway.core import faults, garbage, periodic
from gateway.metrics.families import by_label, counters, gauges, histogram, histograms
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    store = state.settings.store_url.partition(":")[0]
    bus = "shared" if state.bus.is_shared else "memory"
    yield gauges(
        "info",
        "Always 1; the labels say which gateway this is.",
        ("version", "python", "store", "bus"),
        [((__version__, platform.python_version(), store, bus), 1)],
    )
    yield histogram(
        "loop_lag_seconds", "How late the event loop is, measured 4 times a second.", state.loop_lag.seconds
    )
    yield histograms(
        "gc_seconds",
        "Pauses for garbage collection, by generation.",
        ("generation",),
        (((generation,), pauses) for generation, pauses in garbage.pauses.items()),
    )
    finished = dict(periodic.finished)
    now = time.monotonic()
    yield gauges(
        "work_age_seconds",
        "The time since regular work in the background was last done to its end.",
        ("loop",),
        by_label({loop: now - done for loop, done in sorted(finished.items())}),
    )
    yield counters(
        "faults_contained",
        "Faults that a shared loop has contained, by loop: each is a mistake of the gateway, and in the log.",
        ("loop",),
        # A series that begins with 1 shows no growth, so the series of regular work begin with 0.
        by_label(dict.fromkeys(sorted(finished), 0) | faults.counters),
    )
