"""A log for what clients cause: the operator sees it once, and no client can fill the disk with it."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
MAX_LINES = 10
"""Different lines in that time; the others are counted."""


class LimitedLog:
    """Passes each line on once a minute, and at most ten lines a minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = 0.0
        self._lines: set[str] = set()
        self._left_out = 0

    def warning(self, text: str, *values: object) -> None:
        """Log a warning, unless it has been logged in this minute, or too many have."""
        now = self._now()
        if not self._lines or now - self._began >= WINDOW_SECONDS:
            self._begin(now)
        line = text % values
        if line in self._lines or len(self._lines) >= MAX_LINES:
            self._left_out += 1
            return
        self._lines.add(line)
        logger.warning(text, *values)

    def _begin(self, now: float) -> None:
        if self._left_out:
            logger.warning("left out %d lines like those before, of the last minutes", self._left_out)
        self._began = now
        self._lines.clear()
        self._left_out = 0
