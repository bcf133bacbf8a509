"""Faults that a loop which serves many contains.

Such a loop must not end, and must not skip the others, because of what one of them raises. It notes the fault here and
goes on. Faults are counted for the whole process, as its log lines are written: any loop, however deep, can note one.

    for connection in connections:
        with contained("revocations"):
            connection.end(Close.TOKEN_REVOKED)

A loop that serves thousands has its `try` around itself, and resumes after `note`: that costs nothing for each.
"""

import logging
from collections import Counter
from types import TracebackType

from gateway.core.folding import FoldedLog

logger = logging.getLogger(__name__)

LINES_A_MINUTE = 5
"""Tracebacks that the log gets of one loop in a minute."""

counts: Counter[str] = Counter()
"""Faults since the start of this process, by loop."""

_log = FoldedLog(logger, logging.ERROR, same=LINES_A_MINUTE)


def note(loop: str, error: BaseException) -> None:
    """Count what a member of a loop has raised, and log it, a few times a minute."""
    counts[loop] += 1
    _log.write("a fault was contained, and the loop %s goes on", loop, error=error)


class contained:  # noqa: N801 - reads as a word of the language, as contextlib's do
    """Note what is raised inside, and go on after it. Cancellation and the end of the process pass through."""

    __slots__ = ("_loop",)

    def __init__(self, loop: str) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        note(self._loop, error)
        return True
