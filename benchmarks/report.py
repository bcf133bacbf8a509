"""The output that all benchmarks share."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

MOST_LINES = 20
"""The most lines about faults in a report."""

JsonFile = Annotated[Path | None, typer.Option("--json", help="Where to write the figures, too.")]
"""The option of a benchmark for `write_figures`."""


def machine() -> str:
    """Describe this machine in a line."""
    return (
        f"{os.cpu_count()} cores shared with the load, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}"
    )


def write_figures(path: Path, figures: Any) -> None:
    """Write figures down as JSON."""
    path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table_of_counts(title: str, lines: Iterable[tuple[str, int]]) -> Table:
    """Build a table of counts, a line each."""
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for line, count in lines:
        table.add_row(line, f"{count:,}")
    return table


def table_of_costs(title: str, lines: Iterable[tuple[str, str]]) -> Table:
    """Build a table of microseconds of CPU, a line each."""
    table = Table(title=title, caption=machine())
    table.add_column("what")
    table.add_column("µs of CPU", justify="right")
    for line in lines:
        table.add_row(*line)
    return table


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end the command with 130, and no traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def conclude(console: Console, wrong: Sequence[str], *, failed: bool) -> None:
    """Print the faults, and end the command with 1 if there are any."""
    for line in wrong[:MOST_LINES]:
        console.print(line, markup=False)
    if wrong or failed:
        raise typer.Exit(1)
