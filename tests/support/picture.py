"""Draws `docs/architecture.svg` from `docs/architecture.toml`: run `python -m tests.support.picture`."""

import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
SOURCE, PICTURE = DOCS / "architecture.toml", DOCS / "architecture.svg"

WIDTH, HEIGHT = 216, 62
COLUMN, ROW = 274, 98
MARGIN = 24

STYLE = """
    text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #40474f; text-anchor: middle; }
    .paper { fill: #ffffff; } .name { font-weight: 650; fill: #1b1f24; } .path { font-size: 10px; fill: #0b7a75; }
    .box { fill: #f3f5f7; stroke: #b9c2cc; } .outside { fill: none; stroke-dasharray: 4 3; }
    .arrow { stroke: #6b747e; stroke-width: 1.4; fill: none; marker-end: url(#head); } .head { fill: #6b747e; }
    @media (prefers-color-scheme: dark) {
      text { fill: #b6bec8; } .paper { fill: #0d1117; } .name { fill: #e8ecf1; } .path { fill: #4fd1c9; }
      .box { fill: #161b22; stroke: #46505b; } .outside { fill: none; }
      .arrow { stroke: #8b949e; } .head { fill: #8b949e; }
    }
"""


@dataclass(frozen=True)
class Box:
    """A part of the gateway, or what stands outside of it: the latter has no path."""

    name: str
    note: str
    path: str | None
    left: int
    top: int

    @property
    def middle(self) -> tuple[int, int]:
        """The middle of the box."""
        return self.left + WIDTH // 2, self.top + HEIGHT // 2

    def svg(self) -> str:
        """Draw the box with its lines of text."""
        lines = [("name", self.name), ("path", self.path), ("note", self.note)]
        shown = [(kind, text) for kind, text in lines if text]
        x, first = self.middle[0], self.middle[1] + 4 - 8 * (len(shown) - 1)
        texts = [
            f'  <text class="{kind}" x="{x}" y="{first + 16 * number}">{escape(text)}</text>'
            for number, (kind, text) in enumerate(shown)
        ]
        kind = "box" if self.path else "box outside"
        frame = f'  <rect class="{kind}" x="{self.left}" y="{self.top}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        return "\n".join((frame, *texts))


def boxes(source: dict[str, Any]) -> dict[str, Box]:
    """Return the boxes of the source by their ids."""
    return {
        box["id"]: Box(
            box["name"],
            box["note"],
            box.get("path"),
            MARGIN + COLUMN * box["at"][0],
            MARGIN + ROW * box["at"][1],
        )
        for box in source["box"]
    }


def draw(source: dict[str, Any]) -> str:
    """Return the picture of a source."""
    by_id = boxes(source)
    width = max(box.left for box in by_id.values()) + WIDTH + MARGIN
    height = max(box.top for box in by_id.values()) + HEIGHT + MARGIN
    arrows = [_arrow(by_id[arrow["from"]], by_id[arrow["to"]], arrow.get("label")) for arrow in source["arrow"]]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img">',
            f"  <title>{escape(source['title'])}</title>",
            f"  <style>{STYLE}  </style>",
            '  <defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"',
            '    orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
            f'  <rect class="paper" width="{width}" height="{height}" rx="8"/>',
            *arrows,
            *(box.svg() for box in by_id.values()),
            "</svg>\n",
        )
    )


def _arrow(start: Box, end: Box, label: str | None) -> str:
    """Draw an arrow between neighbours: from the edge of one box to the edge of the other."""
    (x1, y1), (x2, y2) = start.middle, end.middle
    x1, x2 = (x1 + _sign(x2 - x1) * WIDTH // 2, x2 - _sign(x2 - x1) * WIDTH // 2)
    y1, y2 = (y1 + _sign(y2 - y1) * HEIGHT // 2, y2 - _sign(y2 - y1) * HEIGHT // 2)
    line = f'  <path class="arrow" d="M{x1} {y1}L{x2} {y2}"/>'
    if label is None:
        return line
    shift = (0, -6) if y1 == y2 else (-40, 4)
    x, y = (x1 + x2) // 2 + shift[0], (y1 + y2) // 2 + shift[1]
    return f'{line}\n  <text class="note" x="{x}" y="{y}">{escape(label)}</text>'


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


if __name__ == "__main__":
    PICTURE.write_text(draw(tomllib.loads(SOURCE.read_text())))
