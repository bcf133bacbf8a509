"""Folding: the log gets a repeated line a few times a minute, and after that only its count.

So a client that makes the gateway write the same line again and again cannot fill the disk. A line has a kind and an
address. For each pair, the first few lines of a minute are written. After that minute, one line says how many were
left out. `Folding` counts. `FoldedLog` writes the lines of one place in the code. In `gateway serve`, every line of
the gateway passes `gateway.core.logs.FoldingHandler` as well.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import NamedTuple

logger = logging.getLogger(__name__)

SECONDS = 60.0

LINES_A_MINUTE = 60
"""Lines of one kind that are written in a minute, unless a caller sets another number."""

MAX_PAIRS = 10_000
"""Pairs of kind and address that are counted separately. Beyond it, further addresses share one count per kind."""


class LeftOut(NamedTuple):
    """How many lines of a kind and address were left out in a minute."""

    kind: Hashable
    address: str | None
    lines: int


class Folding:
    """Count lines by kind and address. `now` is in seconds, on a steady clock. Only one thread at a time may use it."""

    def __init__(self, most: int, seconds: float = SECONDS) -> None:
        """Admit at most `most` lines of one kind and address in `seconds`."""
        self._most = most
        self._seconds = seconds
        # For each pair, the start of its minute and its lines so far. All last equally long, so the oldest ends first.
        self._minutes: dict[tuple[Hashable, str | None], tuple[float, int]] = {}
        self._left_out: list[LeftOut] = []

    def admits(self, kind: Hashable, address: str | None, now: float) -> bool:
        """Count a line, and return whether to write it."""
        self._end_minutes(now)
        pair = (kind, address)
        if pair not in self._minutes and len(self._minutes) >= MAX_PAIRS:
            pair = (kind, None)
        began, count = self._minutes.get(pair, (now, 0))
        self._minutes[pair] = (began, count + 1)
        return count < self._most

    def left_out(self, now: float = float("inf")) -> list[LeftOut]:
        """Return what was left out in the minutes that have ended, each once. Without `now`, all have ended."""
        self._end_minutes(now)
        left_out, self._left_out = self._left_out, []
        return left_out

    def _end_minutes(self, now: float) -> None:
        while self._minutes:
            pair, (began, count) = next(iter(self._minutes.items()))
            if now < began + self._seconds:
                return
            del self._minutes[pair]
            if count > self._most:
                self._left_out.append(LeftOut(*pair, count - self._most))


class FoldedLog:
    """Write lines that may repeat: each a few times a minute, and after that the number of the others."""

    def __init__(
        self,
        logger: logging.Logger,
        level: int,
        *,
        same: int,
        most: int = LINES_A_MINUTE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write an identical line at most `same` times a minute, and at most `most` lines of one template."""
        self._logger = logger
        self._level = level
        self._now = now
        self._same = Folding(same)
        self._all = Folding(most)

    def log(self, text: str, *values: object, error: BaseException | None = None) -> None:
        """Write a line, with the error's traceback, unless it has reached a limit."""
        now = self._now()
        self._write_left_out(now)
        # Folding counts this line as an address, since addresses are bounded: a client may choose the line's words.
        if self._same.admits(text, text % values, now) and self._all.admits(text, None, now):
            self._logger.log(self._level, text, *values, exc_info=error, stacklevel=2)

    def _write_left_out(self, now: float) -> None:
        left_out: Counter[Hashable] = Counter()
        for each in self._same.left_out(now) + self._all.left_out(now):
            left_out[each.kind] += each.lines
        for text, lines in left_out.items():
            self._logger.log(self._level, "left out %d more lines like %r", lines, text)


def client_log(now: Callable[[], float] = time.monotonic) -> FoldedLog:
    """Return a log for warnings with words of clients: an identical line once a minute, ten lines per template."""
    return FoldedLog(logger, logging.WARNING, same=1, most=10, now=now)
