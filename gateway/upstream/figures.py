"""The numbers of calls for the metrics, by the pattern of the route."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["reply", "error", "failed", "timeout", "busy", "open", "cancelled"]
"""How a call ended. `error` is one that the service declared; `busy` and `open` never went out."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper bounds of the histogram's buckets, in seconds."""


@dataclass(slots=True)
class Durations:
    """How long calls took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one call."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Figures:
    """The numbers of one route since the start of this process."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    durations: Durations = field(default_factory=Durations)
    """Of the calls that went out and were not cancelled."""
    retries: int = 0
    in_progress: int = 0
