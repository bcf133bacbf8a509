"""Draws the figures of `benchmarks.transport`: `python -m benchmarks.chart figures.json docs/performance.svg`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import costs, slow_reader, under_load
from benchmarks.results import OURS, shown

COLUMN = 430
LABEL = 210
BAR = 156
LINE = 22
HEAD = 40
MARGIN = 24
LONGEST = 10
"""The longest bar, as a multiple of the gateway's. The chart cuts longer ones, so that the others stay legible."""
GAP = 14

STYLE = """
    text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #40474f; }
    .paper { fill: #ffffff; } .title { font-weight: 650; fill: #1b1f24; } .note { font-size: 11px; fill: #6b747e; }
    .bar { fill: #b9c2cc; } .ours { fill: #0b7a75; } .us { font-weight: 650; fill: #0b7a75; }
    @media (prefers-color-scheme: dark) {
      text { fill: #b6bec8; } .paper { fill: #0d1117; } .title { fill: #e8ecf1; } .note { fill: #8b949e; }
      .bar { fill: #46505b; } .ours { fill: #35b8b0; } .us { fill: #4fd1c9; }
    }
"""


@dataclass(frozen=True)
class Bar:
    """One line of a panel."""

    label: str
    value: float
    ours: bool


@dataclass(frozen=True)
class Panel:
    """Bars with one scale, so that they can be compared."""

    title: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        """Return its height in pixels."""
        return HEAD + LINE * len(self.bars) + GAP

    @property
    def scale(self) -> float:
        """Return the value of a bar of full length."""
        most = max(bar.value for bar in self.bars)
        limit = LONGEST * max((bar.value for bar in self.bars if bar.ours), default=most)
        return max(bar.value for bar in self.bars if bar.value <= limit)


Medians = dict[str, dict[str, float]]
"""The figures of a run: the median of each server, by figure and name."""


def columns_of(medians: Medians) -> list[list[Panel]]:
    """Choose the panels: the cost of a server on the left, its behaviour under load on the right."""
    left = [_servers(medians, figure) for figure in (costs.ROUND_TRIP, costs.ONE_AT_A_TIME, costs.TEN_SENDERS)]
    right = [_servers(medians, figure) for figure in (costs.CONNECTION, costs.IDLE)]
    right += [_round_trips(medians), _deliveries(medians)]
    return [[panel for panel in column if panel.bars] for column in (left, right)]


def _servers(medians: Medians, figure: str) -> Panel:
    return Panel(figure, [Bar(name, value, name == OURS) for name, value in medians.get(figure, {}).items()])


def _round_trips(medians: Medians) -> Panel:
    figures = {load: medians.get(f"{under_load.P99} {load}") for load in under_load.LOADS}
    measured = {load: values for load, values in figures.items() if values is not None}
    bars = [Bar(load, values[OURS], True) for load, values in measured.items()]
    for values in list(measured.values())[:1]:
        bars.insert(0, Bar("nothing else happens", values[under_load.UNLOADED], False))
    return Panel("ms p99 of a round trip with the gateway, while", bars)


def _deliveries(medians: Medians) -> Panel:
    values = medians.get(slow_reader.P99)
    if values is None:
        return Panel("", [])
    bars = [Bar("all read", values[slow_reader.ALL_READ], False), Bar("one does not read", values[OURS], True)]
    return Panel("ms p99 of a delivery from the gateway, while", bars)


def draw(columns: Sequence[Sequence[Panel]], notes: Sequence[str]) -> str:
    """Draw the panels, one column beside the other."""
    height = (
        max((sum(panel.height for panel in column) for column in columns), default=0) + 2 * MARGIN + LINE * len(notes)
    )
    width = COLUMN * len(columns) + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img">',
            f"  <title>{escape(_summary(columns))}</title>",
            f"  <style>{STYLE}  </style>",
            f'  <rect class="paper" width="{width}" height="{height}" rx="8"/>',
            *(
                line
                for number, column in enumerate(columns)
                for line in _column(column, MARGIN + COLUMN * number, MARGIN)
            ),
            *(_text(MARGIN, height - MARGIN - LINE * line, note, "note") for line, note in enumerate(reversed(notes))),
            "</svg>",
            "",
        ]
    )


def _summary(columns: Sequence[Sequence[Panel]]) -> str:
    """Put the chart into words, for a reader that does not see it."""
    return "; ".join(
        f"{panel.title}: " + ", ".join(f"{bar.label} {shown(bar.value)}" for bar in panel.bars)
        for column in columns
        for panel in column
    )


def _column(panels: Iterable[Panel], left: int, top: int) -> list[str]:
    lines = []
    for panel in panels:
        lines += _panel(panel, left, top)
        top += panel.height
    return lines


def _panel(panel: Panel, left: int, top: int) -> list[str]:
    lines = [_text(left, top + 18, panel.title, "title")]
    scale = panel.scale
    for number, bar in enumerate(panel.bars):
        y = top + HEAD + LINE * number
        length = BAR * min(bar.value / scale, 1) if scale else 0
        kind = "us" if bar.ours else ""
        lines += [
            _text(left, y, bar.label, kind),
            f'  <rect class="{"ours" if bar.ours else "bar"}" x="{left + LABEL}" y="{y - 11}"'
            f' width="{max(length, 1):.1f}" height="14" rx="2"/>',
            _text(left + LABEL + length + 7, y, shown(bar.value), kind),
        ]
        if bar.value > scale:
            x = left + LABEL + 0.8 * BAR
            lines.append(f'  <path class="paper" d="M{x:.1f} {y + 4} l6 -16 h5 l-6 16 z"/>')
    return lines


def _text(x: float, y: float, text: str, kind: str) -> str:
    name = f' class="{kind}"' if kind else ""
    return f'  <text{name} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def medians_of(figures: dict[str, Any]) -> Medians:
    """Read the medians from the output of `benchmarks.transport --json`."""
    return {result["figure"]: result["medians"] for result in figures["results"]}


def main(
    figures: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What the benchmark wrote.")],
    chart: Annotated[Path, typer.Argument(dir_okay=False, help="Where to draw it.")],
) -> None:
    """Draw the figures of the transport, readable on a light and on a dark page."""
    run = json.loads(figures.read_text(encoding="utf-8"))
    notes = [
        "Less is better. A bar with a gap is cut. The gateway also checks, validates and stores; its peers do not.",
        run["machine"],
    ]
    chart.write_text(draw(columns_of(medians_of(run)), notes), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
