"""A clock that a test moves."""

from gateway.core.clock import SystemClock


class MovableClock(SystemClock):
    """The machine's time, plus the seconds in `ahead`."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._stopped_at: float | None = None

    def wall(self) -> float:
        """Return the seconds since 1970."""
        return super().wall() + self.ahead

    def steady(self) -> float:
        """Return seconds that only grow, or after `stop` only with `ahead`."""
        return (super().steady() if self._stopped_at is None else self._stopped_at) + self.ahead

    def stop(self) -> None:
        """Let steady time pass only with `ahead`, however long the machine takes."""
        self._stopped_at = super().steady()
