"""Time: how much has passed, also while the machine slept, and what time the gateway has."""

import time
from datetime import UTC, datetime

SLEPT_SECONDS = 5.0
"""The wall clock has to be ahead by as much for a sleep. It is less when a daemon adjusts it."""


class Clock:
    """A clock that only grows. It counts the seconds in which the machine slept, which `time.monotonic` may not."""

    def __init__(self) -> None:
        self._wall = self.wall()
        self._steady = self.steady()
        self._now = 0.0

    def wall(self) -> float:
        """Return the seconds since 1970, which may be wrong and may jump."""
        return time.time()

    def steady(self) -> float:
        """Return seconds that only grow, and may stand still while the machine sleeps."""
        return time.monotonic()

    def now(self) -> float:
        """Return the seconds that have passed since the clock was made."""
        wall, steady = self.wall(), self.steady()
        awake, shown = steady - self._steady, wall - self._wall
        self._wall, self._steady = wall, steady
        self._now += shown if shown - awake > SLEPT_SECONDS else awake
        return self._now


class GatewayTime:
    """The gateway's time, from a time that it has sent. The machine's own time may be hours off."""

    def __init__(self, clock: Clock, sent: str) -> None:
        self._clock = clock
        self._then = clock.now()
        self._sent = _moment(sent)

    def seconds_until(self, time: str) -> float:
        """Return the seconds until a time that the gateway has sent. Raise `ValueError` for what is no time."""
        passed = self._clock.now() - self._then
        return (_moment(time) - self._sent).total_seconds() - passed


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
