"""The clock, as an object that a test can replace."""

import time
from typing import Protocol


class Clock(Protocol):
    """The two kinds of time that the gateway needs."""

    def wall(self) -> float:
        """Return the seconds since 1970. They may jump when the machine's clock is set."""

    def steady(self) -> float:
        """Return seconds that only grow, to measure durations."""


class SystemClock:
    """The machine's time."""

    # Not wrapped in methods: each message reads the time several times.
    wall = staticmethod(time.time)
    steady = staticmethod(time.monotonic)


def milliseconds(clock: Clock) -> int:
    """Return the wall time in whole milliseconds since 1970, as the store keeps it."""
    return int(clock.wall() * 1000)
