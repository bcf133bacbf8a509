"""Folding: what repeats in a log is written a few times a minute, and then only counted.

A client that makes the gateway write the same line again and again must not fill the disk. A line has a kind and an
address. Of each pair, the first few lines of a minute are written; one line after that minute says how many were not.
"""

from collections.abc import Hashable
from typing import NamedTuple

SECONDS = 60.0

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
