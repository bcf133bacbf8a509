"""Writes the figures of `benchmarks.transport` as tables of Markdown: `python -m benchmarks.markdown figures.json`."""

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import OURS, Result


def tables(results: Iterable[Result]) -> str:
    """Return a table for each run of figures of the same servers, with the gateway's ratio to each."""
    return "\n\n".join(_table(list(some)) for _, some in groupby(results, lambda result: list(result.medians)))


def _table(results: list[Result]) -> str:
    names = list(results[0].medians)
    lines = [["", *names], ["---"] * (1 + len(names))]
    lines += [[result.figure, *(_cell(result, name) for name in names)] for result in results]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(result: Result, name: str) -> str:
    value = result.shown(name)
    ratio = result.ratios.get(name)
    return value if name == OURS or ratio is None else f"{value} ({ratio:.2f}×)"


def main(
    figures: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What the benchmark wrote.")],
) -> None:
    """Write the figures of the transport as Markdown, on standard output."""
    run = json.loads(figures.read_text(encoding="utf-8"))
    print(run["machine"], *run["notes"], sep="; ")
    print()
    print(tables(Result(result["figure"], result["medians"]) for result in run["results"]))


if __name__ == "__main__":
    typer.run(main)
