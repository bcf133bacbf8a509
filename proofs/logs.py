"""What a server's log must not have: a traceback, or a line that reports a fault of the gateway."""

import re
from collections.abc import Collection
from pathlib import Path

from proofs.bar import Bar

_FAULT = re.compile(r"Traceback \(most recent call last\)|\b(ERROR|CRITICAL)\b|Exception in ASGI|never awaited")


def faults_in(log: str) -> list[str]:
    """Return the lines that report faults."""
    return [line for line in log.splitlines() if _FAULT.search(line)]


def wrong_lines(what: str, *logs: Path, known: Collection[str] = ()) -> Bar:
    """Return the bar of the logs of a server, or of some. Lines that are known, as a whole, are no faults."""
    lines = [line for log in logs for line in faults_in(log.read_text(encoding="utf-8", errors="replace"))]
    found = [line for line in lines if line not in known]
    words = f": {found[0][:120]}" if found else ""
    return Bar(what, "0", f"{len(found)}{words}", not found)
