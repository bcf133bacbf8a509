"""What a server's log must not have: a traceback, or a line that reports a fault of the gateway."""

import re
from pathlib import Path

from proofs.bar import Bar

_FAULT = re.compile(r"Traceback \(most recent call last\)|\b(ERROR|CRITICAL)\b|Exception in ASGI|never awaited")


def faults_in(log: str) -> list[str]:
    """Return the lines that report faults."""
    return [line for line in log.splitlines() if _FAULT.search(line)]


def wrong_lines(what: str, log: Path) -> Bar:
    """Return the bar of a server's log."""
    found = faults_in(log.read_text(encoding="utf-8", errors="replace"))
    words = f": {found[0][:120]}" if found else ""
    return Bar(what, "0", f"{len(found)}{words}", not found)
