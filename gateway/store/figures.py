"""The numbers of the store's transactions for the metrics, by the method of `Database` that runs them."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, get_args

from gateway.core.histograms import Histogram

Operation = Literal["query", "transact", "fetch", "fetch_long", "fetch_bounded", "run_script"]
"""`transact` and `run_script` write; the others read."""


@dataclass(slots=True)
class StoreFigures:
    """What this process has asked of its store."""

    seconds: dict[Operation, Histogram] = field(
        default_factory=lambda: {operation: Histogram() for operation in get_args(Operation)}
    )
    """How long transactions took, with the wait for a thread, a connection or a lock."""
    failures: Counter[Operation] = field(default_factory=Counter)
    """Transactions that failed because the store was not available."""
    open: Counter[Operation] = field(default_factory=Counter)
    """Transactions that wait or run."""

    @contextmanager
    def timed(self, operation: Operation) -> Iterator[None]:
        """Measure a transaction."""
        began = perf_counter()
        self.open[operation] += 1
        try:
            yield
        finally:
            self.open[operation] -= 1
            self.seconds[operation].add(perf_counter() - began)


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """The connections to a database server."""

    used: int
    most: int
