"""What is sampled of a gateway that must not grow, and the bars of its slopes."""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from gateway.store.tables import metadata
from proofs.bar import Bar
from proofs.process import descriptors, memory_kb, threads
from proofs.slope import no_slope
from proofs.watched import newest

COUNT_SHARE = 0.05
"""What the slope may add to the middle value over all samples."""

ROWS = "rows of "
LEAST_COUNT = 3.0
LEAST_ROWS = 50.0
LEAST_KB = 1024.0


@dataclass
class Samples:
    """Series of figures with the same times."""

    pid: int
    inside: Path
    store: Path
    memory_share: float
    """The same for the memory and the number of objects."""
    times: list[float] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)

    def take(self) -> Mapping[str, float]:
        """Take a sample of all figures, and return it."""
        sample = {
            "memory, KB": float(memory_kb(self.pid)),
            "descriptors": float(descriptors(self.pid)),
            "threads": float(threads(self.pid)),
            **self._inside(),
            **self._files(),
            **self._rows(),
        }
        self.times.append(time.monotonic())
        for name, value in sample.items():
            self.series.setdefault(name, []).append(value)
        return sample

    def _inside(self) -> dict[str, float]:
        inside = newest(self.inside)
        if inside is None:
            raise RuntimeError("the gateway has not looked inside itself")
        return {"asyncio tasks": inside.tasks, "timers": inside.timers, "Python objects": inside.objects}

    def _files(self) -> dict[str, float]:
        log = self.store.with_name(f"{self.store.name}-wal")
        return {"store, KB": self.store.stat().st_size / 1024, "its log (WAL), KB": log.stat().st_size / 1024}

    def _rows(self) -> dict[str, float]:
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=30)) as connection:
            return {f"{ROWS}{name}": _count(connection, name) for name in metadata.tables}

    def bars(self) -> list[Bar]:
        """Return the bar of each figure, and one for all tables together."""
        tables = [name for name in self.series if name.startswith(ROWS)]
        return [*(self._bar(name) for name in self.series if name not in tables), self._of_tables(tables)]

    def _bar(self, name: str) -> Bar:
        if name in {"memory, KB", "Python objects"}:
            return no_slope(name, self.times, self.series[name], share=self.memory_share, is_figure=True)
        least = LEAST_ROWS if name.startswith(ROWS) else LEAST_KB if name.endswith("KB") else LEAST_COUNT
        is_size = name.endswith("KB")  # a file fills up before its pages are used again
        return no_slope(name, self.times, self.series[name], share=COUNT_SHARE, least=least, is_figure=is_size)

    def _of_tables(self, names: list[str]) -> Bar:
        bars = {name: self._bar(name) for name in names}
        grown = {name.removeprefix(ROWS): bar.found for name, bar in bars.items() if not bar.passed}
        found = ", ".join(f"{name} {growth}" for name, growth in grown.items()) or "none grows"
        limit = f"≤ {100 * COUNT_SHARE:.0f} % or {LEAST_ROWS:.0f}"
        return Bar(f"rows of each of {len(names)} tables: growth", limit, found, not grown)


def _count(connection: sqlite3.Connection, table: str) -> float:
    [[count]] = connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of our own tables
    return float(count)
