"""Contains faults, so that one failing member does not stop a loop that serves many.

The loop records the fault here and continues with the next member. Faults are counted for the whole process, like its
log lines, so that any loop can record one, however deep in the code it is.

    for connection in connections:
        with contained("revocations"):
            connection.close(Close.TOKEN_REVOKED)

A loop over thousands puts one `try` around itself, calls `record` and resumes. That costs nothing for each member.
"""

import logging
from collections import Counter
from types import TracebackType

from gateway.core.folding import FoldedLog

logger = logging.getLogger(__name__)

LINES_A_MINUTE = 5
"""Tracebacks of one loop that the log gets in a minute."""

counters: Counter[str] = Counter()
"""Faults since the start of this process, by loop."""

_log = FoldedLog(logger, logging.ERROR, same=LINES_A_MINUTE)


def record(loop: str, error: BaseException) -> None:
    """Count an exception of a loop's member, and log it a few times a minute."""
    counters[loop] += 1
    _log.log("a fault was contained, and the loop %s continues", loop, error=error)


class contained:  # noqa: N801 - reads as a keyword, like the names of contextlib
    """Record an exception that the body raises, and continue. Cancellation and process exit pass through."""

    __slots__ = ("_loop",)

    def __init__(self, loop: str) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        record(self._loop, error)
        return True
