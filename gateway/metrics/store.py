"""The store: whether it takes writes, what waits for it, and how long it takes."""

import shutil
from collections.abc import Iterator

from prometheus_client.core import Metric

from gateway.metrics.families import by_label, counter, counters, gauge, gauges, histogram, histograms
from gateway.state import GatewayState


def metrics(state: GatewayState) -> Iterator[Metric]:
    """Read the numbers."""
    takes_writes = int(state.database.health.takes_writes)
    yield gauge("store_writable", "1 while the store takes writes, else 0.", takes_writes)
    yield from _of_log(state)
    yield from _of_transactions(state)
    yield gauges(
        "store_bytes",
        "The size of SQLite's database and of its write-ahead log.",
        ("file",),
        by_label(state.database.file_sizes()),
    )
    free = shutil.disk_usage(state.settings.data_dir).free
    yield gauge("disk_free_bytes", "What is free where the data folder is.", free)
    yield counter("messages_removed", "Messages that were too old or too many.", state.retention.removed)


def _of_log(state: GatewayState) -> Iterator[Metric]:
    log, figures = state.log, state.log.figures
    yield gauge("writes_waiting", "Messages, memberships and read marks that wait for the store.", log.waiting)
    most = state.settings.max_waiting_writes
    yield gauge("writes_waiting_max", "How many may wait before more are refused.", most)
    yield counter("writes_turned_away", "Writes that were refused because so many waited.", figures.turned_away)
    yield histogram("write_wait_seconds", "How long a write waited for its transaction.", figures.waited)
    yield histogram("commit_seconds", "How long a transaction of writes took, up to the disk.", figures.took)
    yield histogram("commit_changes", "How many writes were in a transaction.", figures.batches)


def _of_transactions(state: GatewayState) -> Iterator[Metric]:
    figures = state.database.figures
    yield histograms(
        "store_seconds",
        "How long transactions took, with the wait for a thread, a connection or a lock, by operation.",
        ("operation",),
        (((operation,), seconds) for operation, seconds in figures.seconds.items()),
    )
    yield counters(
        "store_failures",
        "Transactions that failed because the store was not available, by operation.",
        ("operation",),
        (((operation,), figures.failures[operation]) for operation in figures.seconds),
    )
    yield gauges(
        "store_open",
        "Transactions that wait or run, by operation.",
        ("operation",),
        (((operation,), figures.open[operation]) for operation in figures.seconds),
    )
    pool = state.database.pool
    yield gauges(
        "store_connections",
        "Connections to PostgreSQL: `used` ones, and the `most` that there may be.",
        ("what",),
        () if pool is None else by_label({"used": pool.used, "most": pool.most}),
    )
