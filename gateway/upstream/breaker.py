"""The circuit breaker of a route: while a service fails, messages are refused at once instead of waiting for it.

    closed     every call goes out; 5 failures in a row, or half of at least 20 calls in 10 seconds, open it
    open       no call goes out, for 1 second; after each failed probe for twice as long, up to 30 seconds
    half open  one call goes out as a probe, and its outcome closes or opens the breaker

Each change of state begins a new period. A call counts only in the period in which it began: an old call that fails
late says nothing about the service of now.

A service may fail because of what one user sends. So the failures of one user alone never open the breaker: others
would be refused for them. A service that cannot be reached is no user's fault.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

from gateway.core.clock import Clock

MAX_IN_A_ROW = 5
WINDOW_SECONDS = 10
MIN_CALLS = 20
"""Calls in the window from which the share of failures counts."""
MAX_SHARE = 0.5
FIRST_OPEN_SECONDS = 1.0
MAX_OPEN_SECONDS = 30.0

State = Literal["closed", "open", "half_open"]


@dataclass(slots=True)
class _Second:
    """What happened within one second."""

    number: int
    calls: int = 0
    failures: int = 0


class CircuitBreaker:
    """Decides whether a call may go out. After `begin`, call `succeed`, `fail` or `cancel` with its period."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._period = 0
        self._open_until: float | None = None
        self._open_seconds = FIRST_OPEN_SECONDS
        self._is_probing = False
        self._in_a_row = 0
        self._seconds: deque[_Second] = deque()
        self._failing_user: str | None = None
        self._of_one_user = 0

    @property
    def state(self) -> State:
        """Return the state as the next call finds it."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock.steady() < self._open_until else "half_open"

    @property
    def seconds_left(self) -> float:
        """Return after how many seconds another call may go out."""
        if self._open_until is None:
            return 0.0
        return max(0.0, self._open_until - self._clock.steady()) or (FIRST_OPEN_SECONDS if self._is_probing else 0.0)

    def begin(self) -> int | None:
        """Return the period of a call that may go out, or None."""
        if self._open_until is not None:
            if self._is_probing or self._clock.steady() < self._open_until:
                return None
            self._is_probing = True
        return self._period

    def succeed(self, period: int) -> bool:
        """Count a call that went well, and return whether it has closed the breaker."""
        if period != self._period:
            return False
        if self._open_until is not None:
            self._begin_period(open_until=None)
            self._open_seconds = FIRST_OPEN_SECONDS
            return True
        self._in_a_row = 0
        self._this_second().calls += 1
        return False

    def hear(self, period: int) -> bool:
        """Count the first chunk of a stream, and return whether it has closed the breaker.

        A probe may stream for minutes, and the other calls would wait for its end.
        """
        return self._open_until is not None and self.succeed(period)

    def fail(self, period: int, user_id: str | None = None) -> bool:
        """Count a call that failed, and return whether it has opened the breaker.

        `user_id` names the user that may be the reason; None if no user can be.
        """
        if period != self._period:
            return False
        if self._open_until is not None:
            self._open_seconds = min(2 * self._open_seconds, MAX_OPEN_SECONDS)
            self._open()
            return True
        if self._has_failed_enough(user_id):
            return False
        self._in_a_row += 1
        second = self._this_second()
        second.calls += 1
        second.failures += 1
        if self._in_a_row < MAX_IN_A_ROW and not self._fails_often():
            return False
        self._open()
        return True

    def cancel(self, period: int) -> None:
        """End a call without an outcome. If it was the probe, the next call is."""
        if period == self._period:
            self._is_probing = False

    def _has_failed_enough(self, user_id: str | None) -> bool:
        """Return whether the last failures that may count were this user's alone, so that its next one does not."""
        if user_id is None or user_id != self._failing_user:
            self._failing_user, self._of_one_user = user_id, 0
        self._of_one_user += user_id is not None
        return self._of_one_user >= MAX_IN_A_ROW

    def _open(self) -> None:
        self._begin_period(open_until=self._clock.steady() + self._open_seconds)

    def _begin_period(self, *, open_until: float | None) -> None:
        self._period += 1
        self._open_until = open_until
        self._is_probing = False
        self._in_a_row = 0
        self._seconds.clear()

    def _this_second(self) -> _Second:
        now = int(self._clock.steady())
        while self._seconds and self._seconds[0].number <= now - WINDOW_SECONDS:
            self._seconds.popleft()
        if not self._seconds or self._seconds[-1].number != now:
            self._seconds.append(_Second(now))
        return self._seconds[-1]

    def _fails_often(self) -> bool:
        calls = sum(second.calls for second in self._seconds)
        failures = sum(second.failures for second in self._seconds)
        return calls >= MIN_CALLS and failures >= MAX_SHARE * calls
