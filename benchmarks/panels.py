"""Draws the panels of a Grafana dashboard as SVG, with lines from elsewhere: for `benchmarks.dashboard`."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

COLUMN, UNIT, GAP, HEAD, FOOT = 50, 20, 5, 20, 16
MOST_NAMES = 4
"""Names in the legend of a panel."""
COLOURS = ("#3b82c4", "#d97706", "#0b7a75", "#c2413b", "#7c5cc4", "#5f7a1f", "#b0457f", "#6b747e")
OF_THRESHOLDS = {"green": "#2f9e5f", "orange": "#d97706", "red": "#c2413b"}
STYLE = """
    text { font: 11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #40474f; }
    .paper { fill: #f4f5f7; } .panel { fill: #ffffff; stroke: #e1e4e8; } .title { font-weight: 600; fill: #1b1f24; }
    .row { font-weight: 650; font-size: 14px; fill: #1b1f24; } .small { font-size: 9px; fill: #6b747e; }
    .value { font-weight: 650; font-size: 26px; fill: #ffffff; } .grid { stroke: #e1e4e8; }
    .line { fill: none; stroke-width: 1.3; stroke-linejoin: round; }
"""

Series = tuple[str, list[tuple[float, float]]]
"""A name, and the values with their times."""
Panel = Mapping[str, Any]


def draw(found: Sequence[tuple[Panel, list[Series]]], note: str) -> str:
    """Draw the panels as the dashboard places them."""
    body: list[str] = []
    top = GAP
    for row, panels in _rows(found):
        body.append(_text(2 * GAP, top + HEAD - 4, str(row["title"]), "row"))
        top += HEAD + GAP
        first = min(panel["gridPos"]["y"] for panel, _ in panels)
        for panel, lines in panels:
            body += _panel(panel, lines, top - first * UNIT)
        top += UNIT * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] - first for panel, _ in panels) + GAP
    width, height = 24 * COLUMN + 2 * GAP, top + 2 * HEAD
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img">',
            f"  <title>{escape(_summary(found))}</title>",
            f"  <style>{STYLE}  </style>",
            f'  <rect class="paper" width="{width}" height="{height}" rx="6"/>',
            *body,
            _text(2 * GAP, height - HEAD, note, "small"),
            "</svg>",
            "",
        ]
    )


def _summary(found: Sequence[tuple[Panel, list[Series]]]) -> str:
    return "The dashboard of json-gateway: " + ", ".join(str(panel["title"]) for panel, lines in found if lines)


def _rows(found: Sequence[tuple[Panel, list[Series]]]) -> Iterator[tuple[Panel, list[tuple[Panel, list[Series]]]]]:
    """Yield each row with its panels that have lines, if they are at least half of them."""
    row: Panel = {}
    panels: list[tuple[Panel, list[Series]]] = []
    for panel, lines in (*found, _END):
        if panel["type"] != "row":
            panels.append((panel, lines))
            continue
        drawn = [(each, lines) for each, lines in panels if lines]
        if drawn and 2 * len(drawn) >= len(panels):
            yield row, drawn
        row, panels = panel, []


_END: tuple[Panel, list[Series]] = ({"type": "row"}, [])


def _panel(panel: Panel, lines: Sequence[Series], shift: int) -> list[str]:
    place = panel["gridPos"]
    left, top = GAP + place["x"] * COLUMN, place["y"] * UNIT + shift
    width, height = place["w"] * COLUMN - GAP, place["h"] * UNIT - GAP
    unit = panel["fieldConfig"]["defaults"]["unit"]
    drawn = _stat if panel["type"] == "stat" else _chart
    return [
        f'  <rect class="panel" x="{left}" y="{top}" width="{width}" height="{height}" rx="4"/>',
        *drawn(panel, lines, unit, (left, top, width, height)),
        _text(left + 8, top + 15, str(panel["title"]), "title"),
    ]


Box = tuple[int, int, int, int]
"""Left, top, width and height."""


def _stat(panel: Panel, lines: Sequence[Series], unit: str, box: Box) -> list[str]:
    left, top, width, height = box
    value = lines[0][1][-1][1]
    colour = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    inner = height - HEAD - GAP
    return [
        f'  <rect x="{left + 4}" y="{top + HEAD}" width="{width - 8}" height="{inner}" rx="3"'
        f' fill="{OF_THRESHOLDS[colour]}"/>',
        f'  <text class="value" x="{left + width // 2}" y="{top + HEAD + inner // 2 + 9}" text-anchor="middle">'
        f"{escape(shown(value, unit))}</text>",
    ]


def _chart(_panel: Panel, lines: Sequence[Series], unit: str, box: Box) -> list[str]:
    left, top, width, height = box
    left, top, width, height = left + 46, top + HEAD + 6, width - 56, height - HEAD - FOOT - 14
    times = [at for _, points in lines for at, _ in points]
    start, end = min(times), max(max(times), min(times) + 1)
    most = max(value for _, points in lines for _, value in points) or 1.0
    drawn = []
    for share in (0, 0.5, 1):
        y = top + height - round(share * height)
        drawn.append(f'  <line class="grid" x1="{left}" x2="{left + width}" y1="{y}" y2="{y}"/>')
        drawn.append(_text(left - 4, y + 3, shown(share * most, unit), "small", "end"))
    ranked = sorted(lines, key=lambda line: -max(value for _, value in line[1]))
    for number, (_, points) in enumerate(ranked):
        for part in _unbroken(points):
            at = " ".join(
                f"{left + round((when - start) / (end - start) * width)},{top + height - round(value / most * height)}"
                for when, value in part
            )
            drawn.append(f'  <polyline class="line" stroke="{COLOURS[number % len(COLOURS)]}" points="{at}"/>')
    return drawn + _legend([name for name, _ in ranked], box)


def _unbroken(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of a line: nothing joins two values with others missing in between."""
    step = min((later - at for (at, _), (later, _) in pairwise(points)), default=0.0)
    part = list(points[:1])
    for (before, _), (at, value) in pairwise(points):
        if at - before > 2 * step:
            yield part
            part = []
        part.append((at, value))
    yield part


def _legend(names: Sequence[str], box: Box) -> list[str]:
    left, top, width, height = box
    x, y = left + 8, top + height - 7
    drawn = []
    for number, name in enumerate(names[:MOST_NAMES]):
        room = (width - 16) // min(len(names), MOST_NAMES)
        text = name if len(name) * 5 < room - 12 else name[: max(3, (room - 18) // 5)] + "…"
        drawn.append(f'  <rect x="{x}" y="{y - 6}" width="8" height="3" fill="{COLOURS[number % len(COLOURS)]}"/>')
        drawn.append(_text(x + 11, y, text, "small"))
        x += room
    return drawn


def shown(value: float, unit: str) -> str:
    """Write a value in the unit of its panel."""
    match unit:
        case "s":
            return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
        case "bytes":
            return f"{value / 2**30:.3g} GiB" if value >= 2**30 else f"{value / 2**20:.3g} MiB"
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "bool_yes_no":
            return "Yes" if value else "No"
        case "reqps" | "cps":
            return f"{value:.3g}/s"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'  <text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
