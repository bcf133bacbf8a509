"""Builds the table of all figures, and their JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.table import Table

from benchmarks import costs, slow_reader, small_rooms, under_load
from benchmarks.visit import Figures

OURS = "gateway"

Aims = Mapping[tuple[str, str], str]
"""Aims in words, by the figure and the server or situation."""

AIMS: Aims = {
    (costs.ROUND_TRIP, "bare ASGI"): "≤ 1.00×",
    (costs.ROUND_TRIP, "tutorial"): "≤ 0.70×",
    (costs.ROUND_TRIP, "Node ws"): "≤ 1.00×",
    (costs.ONE_AT_A_TIME, "tutorial"): "≤ 0.70×",
    (costs.ONE_AT_A_TIME, "Node ws"): "≤ 1.00×",
    (costs.TEN_SENDERS, "tutorial"): "≤ 0.30×",
    (costs.PER_SECOND, OURS): "≥ 500,000",
    (small_rooms.FIGURES[10], OURS): "≤ 12",
    (costs.CONNECTION, "tutorial"): "≤ 0.60×",
    (costs.IDLE, OURS): "≤ 32",
    (costs.IDLE, "tutorial"): "≤ its + 2",
    **{(f"{under_load.P99} {load}", under_load.UNLOADED): "≤ 3.00×" for load in under_load.LOADS},
    (slow_reader.P99, slow_reader.ALL_READ): "≤ 1.10×",
    (slow_reader.CLOSE_CODE, OURS): "4508",
}
"""The gateway's aims: a ratio to another server, a ratio to itself in another situation, or a figure."""


@dataclass(frozen=True)
class Result:
    """A figure: the median of each server by its name, or of the gateway in another situation."""

    figure: str
    medians: dict[str, float]

    @property
    def ratios(self) -> dict[str, float]:
        """Return the gateway's figure divided by each other one, without those too small to measure."""
        ours = self.medians.get(OURS)
        if ours is None:
            return {}
        return {name: ours / value for name, value in self.medians.items() if name != OURS and value}

    def shown(self, name: str) -> str:
        """Format the figure of a server, by its name."""
        value = self.medians[name]
        return f"{value:.0f}" if self.figure == slow_reader.CLOSE_CODE else shown(value)

    def as_json(self, aims: Aims = AIMS) -> dict[str, Any]:
        """Return the figure with its ratios and aims."""
        own = {name: aim for (figure, name), aim in aims.items() if figure == self.figure}
        return asdict(self) | {"ratios": self.ratios, "aims": own}


def medians(visits: Iterable[Figures]) -> list[Result]:
    """Combine the figures of several visits."""
    taken: dict[str, dict[str, list[float]]] = {}
    for figures in visits:
        for figure, values in figures.items():
            for name, value in values.items():
                taken.setdefault(figure, {}).setdefault(name, []).append(value)
    return [
        Result(figure, {name: median(values) for name, values in by_name.items()}) for figure, by_name in taken.items()
    ]


def table_of(results: Sequence[Result], title: str, aims: Aims = AIMS) -> Table:
    """Build the table of the results, a line for each server."""
    table = Table(title=title)
    table.add_column("figure")
    table.add_column("")
    for heading in ("value", "ratio", "aim"):
        table.add_column(heading, justify="right")
    for result in results:
        for line, name in enumerate(result.medians):
            ratio = f"{result.ratios[name]:.2f}×" if name in result.ratios else ""
            figure = "" if line else result.figure
            table.add_row(figure, name, result.shown(name), ratio, aims.get((result.figure, name), ""))
        table.add_section()
    return table


def shown(value: float) -> str:
    """Format a figure with its significant digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 5 else f"{value:.2f}"
