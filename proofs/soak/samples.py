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
from proofs.watched import Inside, newest

COUNT_SHARE = 0.05
"""What the slope may add to the middle value over all samples."""

MEMORY = "memory, KB"
OBJECTS = "Python objects"
LEAST_TURNS = 3
"""With fewer turns of the collector in the time that counts, its saw-tooth is in the samples."""

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
    """What the slope may add to the memory and to the number of objects."""
    times: list[float] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)
    settled: list[Inside] = field(default_factory=list)
    """The looks right after turns of the gateway's own collector."""

    def take(self) -> Mapping[str, float]:
        """Take a sample of all figures, and return it."""
        looks = newest(self.inside)
        if looks is None:
            raise RuntimeError("the gateway has not looked inside itself")
        sample = {
            MEMORY: float(memory_kb(self.pid)),
            "descriptors": float(descriptors(self.pid)),
            "threads": float(threads(self.pid)),
            "asyncio tasks": float(looks.last.tasks),
            "timers": float(looks.last.timers),
            OBJECTS: float(looks.last.objects),
            **self._files(),
            **self._rows(),
        }
        self.times.append(time.monotonic())
        self.note_settled(looks.settled)
        for name, value in sample.items():
            self.series.setdefault(name, []).append(value)
        return sample

    def note_settled(self, look: Inside | None) -> None:
        """Keep a look after a turn of the collector in the time that counts, once."""
        if look is not None and look.at >= self.times[0] and look not in self.settled[-1:]:
            self.settled.append(look)

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
        if name in {MEMORY, OBJECTS}:
            return self._bar_of_memory(name)
        least = LEAST_ROWS if name.startswith(ROWS) else LEAST_KB if name.endswith("KB") else LEAST_COUNT
        is_size = name.endswith("KB")  # a file fills up before its pages are used again
        return no_slope(name, self.times, self.series[name], share=COUNT_SHARE, least=least, is_figure=is_size)

    def _bar_of_memory(self, name: str) -> Bar:
        """Compare the looks after turns of the collector. Between two of them, garbage grows and is no leak."""
        if len(self.settled) < LEAST_TURNS:
            name_of_all = f"{name}, with garbage"
            return no_slope(name_of_all, self.times, self.series[name], share=self.memory_share, is_figure=True)
        times = [look.at for look in self.settled]
        values = [float(look.memory_kb if name == MEMORY else look.objects) for look in self.settled]
        settled = f"{name}, after {len(times)} turns of the collector"
        return no_slope(settled, times, values, share=self.memory_share, is_figure=True)

    def _of_tables(self, names: list[str]) -> Bar:
        bars = {name: self._bar(name) for name in names}
        grown = {name.removeprefix(ROWS): bar.found for name, bar in bars.items() if not bar.passed}
        found = ", ".join(f"{name} {growth}" for name, growth in grown.items()) or "none grows"
        limit = f"≤ {100 * COUNT_SHARE:.0f} % or {LEAST_ROWS:.0f}"
        return Bar(f"rows of each of {len(names)} tables: growth", limit, found, not grown)


def _count(connection: sqlite3.Connection, table: str) -> float:
    [[count]] = connection.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of our own tables
    return float(count)
