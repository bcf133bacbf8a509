"""The numbers of calls for the metrics, by the pattern of the route."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from gateway.core.histograms import LONG_SECONDS, Histogram

Outcome = Literal["reply", "error", "failed", "timeout", "busy", "open", "cancelled"]
"""How a call ended. `error` is one that the service declared; `busy` and `open` never went out."""


@dataclass(slots=True)
class Figures:
    """The numbers of one route since the start of this process."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    durations: Histogram = field(default_factory=lambda: Histogram(LONG_SECONDS))
    """Of the calls that went out and were not cancelled."""
    retries: int = 0
    in_progress: int = 0
