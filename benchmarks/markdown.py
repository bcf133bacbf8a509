"""Writes the figures of a benchmark as tables of Markdown: `python -m benchmarks.markdown figures.json`.

It takes what `benchmarks.transport`, `.joins`, `.durable`, `.nodes` and `.start` write. The figures of the first two
are of several servers, those of the others are records.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.results import OURS, Result, shown


def tables(results: Iterable[Result]) -> str:
    """Return a table for each run of figures of the same servers, with the gateway's ratio to each."""
    return "\n\n".join(_table(list(some)) for _, some in groupby(results, lambda result: list(result.medians)))


def _table(results: list[Result]) -> str:
    names = list(results[0].medians)
    rows = [[result.figure, *(_cell(result, name) for name in names)] for result in results]
    return _lines(["", *names], rows)


def _cell(result: Result, name: str) -> str:
    value = result.shown(name)
    ratio = result.ratios.get(name)
    return value if name == OURS or ratio is None else f"{value} ({ratio:.2f}×)"


def table_of_records(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a line for each record. The parts of a record within one have its name before theirs."""
    rows = [dict(_flat(record)) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _lines(names, [[_shown(row.get(name)) for name in names] for row in rows])


def _flat(record: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {part}", each) for part, each in _flat(value))
        elif value is not None:
            yield name, value


def _shown(value: object) -> str:
    if value is None:
        return ""
    return shown(value) if isinstance(value, float) else str(value)


def _lines(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(names), ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(
    figures: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What the benchmark wrote.")],
) -> None:
    """Write the figures as Markdown, on standard output."""
    run = json.loads(figures.read_text(encoding="utf-8"))
    print(run["machine"], *run.get("notes", ()), sep="; ")
    print()
    results = run["results"]
    if "medians" in results[0]:
        print(tables(Result(result["figure"], result["medians"]) for result in results))
    else:
        print(table_of_records(results))


if __name__ == "__main__":
    typer.run(main)
