"""Folding: what repeats in a log is written a few times a minute, and then only counted.

A client that makes the gateway write the same line again and again must not fill the disk. A line has a kind and an
address. Of each pair, the first few lines of a minute are written; one line after that minute says how many were not.
`Folding` counts. `FoldedLog` writes what one place in the code has to say; every line of the gateway passes
`gateway.core.logs.FoldingHandler` besides, where `gateway serve` runs it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import NamedTuple

logger = logging.getLogger(__name__)

SECONDS = 60.0

LINES_A_MINUTE = 60
"""Lines of one kind that are written in a minute, where nothing else is said."""

MAX_PAIRS = 10_000
"""Pairs of kind and address that are counted apart. With more, all further addresses share one count for each kind."""


class LeftOut(NamedTuple):
    """How many lines of a kind and address were not written in a minute."""

    kind: Hashable
    address: str | None
    lines: int


class Folding:
    """Counts lines by kind and address. `now` is in seconds, on a steady clock. One thread at a time may use it."""

    def __init__(self, most: int, seconds: float = SECONDS) -> None:
        """Admit at most `most` lines of one kind and address in `seconds`."""
        self._most = most
        self._seconds = seconds
        # When each minute began, and how many lines came in it. All are equally long, so the first begun ends first.
        self._minutes: dict[tuple[Hashable, str | None], tuple[float, int]] = {}
        self._left_out: list[LeftOut] = []

    def admits(self, kind: Hashable, address: str | None, now: float) -> bool:
        """Count a line, and return whether it is to be written."""
        self._end_minutes(now)
        pair = (kind, address)
        if pair not in self._minutes and len(self._minutes) >= MAX_PAIRS:
            pair = (kind, None)
        began, count = self._minutes.get(pair, (now, 0))
        self._minutes[pair] = (began, count + 1)
        return count < self._most

    def left_out(self, now: float = float("inf")) -> list[LeftOut]:
        """Return what was not written in the minutes that are over by now, each once; without `now`, in all of them."""
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
    """Writes lines that may come again and again: each a few times a minute, and then how many more there were."""

    def __init__(
        self,
        logger: logging.Logger,
        level: int,
        *,
        same: int,
        most: int = LINES_A_MINUTE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write the very same line at most `same` times a minute, and at most `most` lines of one text."""
        self._logger = logger
        self._level = level
        self._now = now
        self._same = Folding(same)
        self._all = Folding(most)

    def write(self, text: str, *values: object, error: BaseException | None = None) -> None:
        """Write a line, with the traceback of the error, unless it is one too many."""
        now = self._now()
        self._write_left_out(now)
        # The line takes the place of an address, since their number is bounded: a client may choose its words.
        if self._same.admits(text, text % values, now) and self._all.admits(text, None, now):
            self._logger.log(self._level, text, *values, exc_info=error, stacklevel=2)

    def _write_left_out(self, now: float) -> None:
        left_out: Counter[Hashable] = Counter()
        for each in self._same.left_out(now) + self._all.left_out(now):
            left_out[each.kind] += each.lines
        for text, lines in left_out.items():
            self._logger.log(self._level, "left out %d more lines like %r", lines, text)


def client_log(now: Callable[[], float] = time.monotonic) -> FoldedLog:
    """Return a log of warnings with words of clients in them: each line once a minute, and ten lines of one text."""
    return FoldedLog(logger, logging.WARNING, same=1, most=10, now=now)
