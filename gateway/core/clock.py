"""Time, as something that a test can set."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def wall(self) -> float:
        """Seconds since 1970; may jump when the machine's clock is set."""

    def steady(self) -> float:
        """Seconds that only grow, for durations."""


class SystemClock:
    """The machine's time."""

    # Not methods around these: the time is asked for several times for each message.
    wall = staticmethod(time.time)
    steady = staticmethod(time.monotonic)


def milliseconds(clock: Clock) -> int:
    """Wall time as whole milliseconds since 1970, as the store keeps it."""
    return int(clock.wall() * 1000)
