"""Words that users and other programs have sent, for a terminal that must not obey them."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def printable(text: str) -> str:
    """Return a text without characters that a terminal obeys. What was JSON before is the same JSON."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def print_table(table: "Table") -> None:
    """Print a table as it is: to rich, `[/]` in a room's title would be markup, and a wrong one."""
    from rich.console import Console  # which few commands need

    Console(markup=False, emoji=False).print(table)
