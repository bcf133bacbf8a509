"""Shows what the checks have found: for a terminal, and for a program."""

import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from gateway.cli.doctor.examination import Result
from gateway.cli.doctor.findings import Finding, Verdict

_SIGNS = {Verdict.OK: ("✓", "green"), Verdict.WARNING: ("!", "yellow"), Verdict.PROBLEM: ("✗", "bold red")}
_NAME = 15
"""The width of the names of checks."""


def show(results: Sequence[Result], console: Console | None = None) -> None:
    """Print a line for each finding, and below a bad one the line to change."""
    console = console or Console(highlight=False, soft_wrap=False)
    for result in results:
        for number, finding in enumerate(result.findings):
            _show_finding(console, "" if number else result.name, finding)
    console.print()
    console.print(_summary(results))


def _show_finding(console: Console, name: str, finding: Finding) -> None:
    sign, style = _SIGNS[finding.verdict]
    head = Text.assemble((sign, style), " ", (name.ljust(_NAME), "bold"), " ")
    width = max(20, console.width - len(head.plain))
    first, *others = Text(finding.found).wrap(console, width)
    console.print(Text.assemble(head, first))
    for line in others:
        console.print(Padding(line, (0, 0, 0, len(head.plain)), expand=False))
    if finding.change:
        # Whole, so that it can be copied.
        console.print(Text.assemble(" " * len(head.plain), ("→ " + finding.change, "cyan")), soft_wrap=True)


def _summary(results: Sequence[Result]) -> Text:
    counts = Counter(result.verdict for result in results)
    problems, warnings = counts[Verdict.PROBLEM], counts[Verdict.WARNING]
    return Text.assemble(
        (_number(problems, "problem"), "bold red" if problems else "green"),
        ", ",
        (_number(warnings, "warning"), "yellow" if warnings else "green"),
        f", {_number(counts[Verdict.OK], 'check')} without either",
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def as_json(results: Sequence[Result]) -> str:
    """Return all findings as one JSON object."""
    checks = [
        {
            "check": result.name,
            "verdict": result.verdict,
            "findings": [
                {"verdict": each.verdict, "found": each.found, **({"change": each.change} if each.change else {})}
                for each in result.findings
            ],
        }
        for result in results
    ]
    worst = max((result.verdict for result in results), key=list(Verdict).index, default=Verdict.OK)
    return json.dumps({"verdict": worst, "checks": checks}, ensure_ascii=False)
