"""Writes the table of docs/reliability.md from the files of runs: `python -m proofs.page data/proofs/*.json`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from proofs import table
from proofs.bar import Bar, Scale
from proofs.outcome import Outcome, read

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN = "<!-- proofs: begin -->"
END = "<!-- proofs: end -->"


def newest(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return one outcome of each proof, in their order: the newest full one, or the newest short one without any."""
    best: dict[str, Outcome] = {}
    for outcome in outcomes:
        known = best.get(outcome.name)
        if known is None or _rank(outcome) >= _rank(known):
            best[outcome.name] = outcome
    order = list(table.PROOFS)
    return sorted(best.values(), key=lambda outcome: order.index(outcome.name))


def _rank(outcome: Outcome) -> tuple[bool, str]:
    return outcome.scale is Scale.FULL, outcome.date


def table_of(outcomes: Sequence[Outcome]) -> str:
    """Return a table of Markdown with a line for each bar."""
    machines = dict.fromkeys(outcome.machine for outcome in outcomes)
    lines = [_line(outcome, bar) for outcome in outcomes for bar in outcome.bars]
    heads = ["| date | command | bar | limit | found | |", "|---|---|---|---|---|---|"]
    return "\n".join([*(f"Machine: {_cell(each)}." for each in machines), "", *heads, *lines])


def _line(outcome: Outcome, bar: Bar) -> str:
    verdict = "passed" if bar.passed else "**missed**"
    cells = (outcome.date, f"`{outcome.command}`", bar.what, bar.limit, bar.found, verdict)
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def with_table(page: str, lines: str) -> str:
    """Return the page with this table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{lines}\n{END}{after}"


def main(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="What --json of the runs wrote.")],
    page: Annotated[Path, typer.Option(help="The page with the marks.")] = PAGE,
) -> None:
    """Write the table into the page. Of several runs of a proof it takes the newest full one."""
    lines = table_of(newest(read(files)))
    page.write_text(with_table(page.read_text(encoding="utf-8"), lines), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
