"""Runs proofs, prints a table of their bars, and ends with 1 if one is missed: `python -m proofs [NAME…] [--short]`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.report import interruptible, machine
from proofs import table
from proofs.bar import Scale
from proofs.outcome import Outcome, outcome_of, write


def run(names: Sequence[str], scale: Scale, json_file: Path | None = None) -> list[Outcome]:
    """Run proofs, and write down what is known after each, since all of them take hours."""
    outcomes: list[Outcome] = []
    for group in table.in_groups(list(names)):
        outcomes += uvloop.run(_side_by_side(group, scale))
        if json_file is not None:
            write(json_file, outcomes)
    return outcomes


async def _side_by_side(names: Sequence[str], scale: Scale) -> list[Outcome]:
    return await asyncio.gather(
        *(outcome_of(table.proof(name), scale, command_of(name, scale)) for name in names),
    )


def command_of(name: str, scale: Scale) -> str:
    """Return the command that repeats the run of a proof."""
    return f"python -m proofs {name}{' --short' if scale is Scale.SHORT else ''}"


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """Build the table of all bars."""
    result = Table(title="What the gateway is held to", caption=machine())
    for column in ("proof", "bar", "limit", "found", ""):
        result.add_column(column)
    for outcome in outcomes:
        for bar in outcome.bars:
            passed = "passed" if bar.passed else "[red]missed[/]"
            result.add_row(outcome.name, bar.what, bar.limit, bar.found, passed)
        result.add_section()
    return result


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help=", ".join(table.PROOFS))] = None,
    short: Annotated[bool, typer.Option("--short", help="The forms for CI, of minutes.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the outcome, too.")] = None,
) -> None:
    """Prove all that the gateway promises, or the parts that are named."""
    if unknown := [name for name in names or () if name not in table.PROOFS]:
        raise typer.BadParameter(f"there is no proof {unknown[0]}; there are {', '.join(table.PROOFS)}")
    with interruptible():
        outcomes = run(names or list(table.PROOFS), Scale.SHORT if short else Scale.FULL, json_file)
    Console(highlight=False).print(table_of(outcomes))
    if not all(outcome.passed for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
