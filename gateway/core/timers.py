"""Timers for many connections: one tick a second serves them all."""

import asyncio
import math
from collections.abc import Callable

from gateway.core.faults import contained

CHUNK = 256
"""Timers to call before the event loop gets its turn. Many connections that close at once make many timers due."""


class TimerWheel:
    """Calls functions after a delay, up to one tick late. It costs nothing while no timer is due."""

    def __init__(self, tick_seconds: float = 1.0) -> None:
        self._tick_seconds = tick_seconds
        self._now = 0
        self._due: dict[int, set[Timer]] = {}
        self._late: list[Timer] = []
        self._handle: asyncio.TimerHandle | None = None

    def call_later(self, seconds: float, call: Callable[[], None]) -> "Timer":
        """Call `call` after `seconds`, unless the timer is cancelled."""
        timer = Timer(self, self._now + max(1, math.ceil(seconds / self._tick_seconds)), call)
        self._due.setdefault(timer.slot, set()).add(timer)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)
        return timer

    def close(self) -> None:
        """Drop all timers."""
        self._due.clear()
        self._late.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _cancel(self, timer: "Timer") -> None:
        timers = self._due.get(timer.slot)
        if timers is not None:
            timers.discard(timer)
            if not timers:
                del self._due[timer.slot]

    def _tick(self) -> None:
        self._now += 1
        is_at_it = bool(self._late)
        self._late += self._due.pop(self._now, ())
        if not is_at_it:
            self._call_some()
        self._handle = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick) if self._due else None

    def _call_some(self) -> None:
        some, self._late = self._late[:CHUNK], self._late[CHUNK:]
        for timer in some:
            with contained("timers"):
                timer.call_now()
        if self._late:
            asyncio.get_running_loop().call_soon(self._call_some)


class Timer:
    """One callback on a timer wheel."""

    __slots__ = ("_call", "_wheel", "slot")

    def __init__(self, wheel: TimerWheel, slot: int, call: Callable[[], None]) -> None:
        self._wheel = wheel
        self.slot = slot
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Cancel the call. Cancelling again, or after the call, does nothing."""
        self._call = None  # the callback may hold a reference to its timer
        self._wheel._cancel(self)

    def call_now(self) -> None:
        """Call now instead of later. Do nothing if the call has been made or cancelled."""
        call = self._call
        self.cancel()
        if call is not None:
            call()
