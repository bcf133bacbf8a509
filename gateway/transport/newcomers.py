"""Newcomers: clients that have asked for a WebSocket, and wait until the node has a turn for their handshake.

Handshakes begin in turns of the event loop, in the order of their arrival (see `core/turns.py`). Few of them are in
progress at a time, so a store that hangs keeps the rest waiting here, where a client costs only its socket. Beyond
what the node takes in `MAX_WAIT_SECONDS`, a newcomer is refused with a time to come back. The times lie one after the
other, so that the clients come back about as fast as the node can take them.

The node measures what it needs for a client while some wait: the time from one handshake to the next. Joins go first,
so this includes the joins of the clients before.
"""

import asyncio
import logging
import math
import secrets
from collections import Counter, OrderedDict
from typing import Protocol

from gateway.core.clock import Clock
from gateway.core.turns import Turns
from schemas.codes import Close

logger = logging.getLogger(__name__)

NEWCOMERS = "gateway.newcomers"
"""The key of this in the state of the lifespan, where the server's protocol finds it."""

MAX_IN_PROGRESS = 256
"""Handshakes that have begun and have no answer yet. Their credentials are checked in few queries, or by a service."""

MAX_WAIT_SECONDS = 8.0
"""The longest wait for a turn. Many client libraries give a handshake up after 10 seconds."""

LEAST_AWAY_SECONDS = 1.0
"""The shortest time that a client is sent away for: sooner, it would meet the same crowd."""

MAX_AWAY_SECONDS = 60.0
"""The longest time that a client is sent away for."""

SECONDS_EACH = 0.001
"""What a node needs for a client with five rooms (`python -m benchmarks.storm`), until it has measured it itself."""

RETURN_SHARE = 0.5
"""The distance of two returns, in what a client takes. A storm is slowest at its beginning, and early clients wait."""

SAMPLES = 256
"""The measure is a moving average over about so many clients, so that no single pause of the store decides."""

FORGET_SECONDS = 60.0
"""After so long without waiting newcomers, the measure begins anew: what made the node slow may have passed."""

LOOK_SECONDS = 0.5
"""How often to look for newcomers that have waited for too long."""


class Newcomer(Protocol):
    """A connection with a complete request for a WebSocket."""

    def begin_handshake(self) -> None:
        """Pass the request to the application."""

    def send_away(self, close: Close, after_ms: int) -> None:
        """Refuse the request, and close the connection."""


class Newcomers:
    """The newcomers of a node: the waiting ones, and the handshakes in progress."""

    def __init__(self, turns: Turns, clock: Clock, most: int, *, answers_http: bool = False) -> None:
        """Let at most `most` newcomers wait; 0 means any number. `answers_http` refuses them before the upgrade."""
        self.answers_http = answers_http
        self._turns = turns
        self._clock = clock
        self._most = most
        self._waiting: OrderedDict[Newcomer, float] = OrderedDict()  # each with the time of its arrival
        self.in_progress = 0
        """Handshakes that have begun and have no answer yet."""
        self._has_called = False
        self._timer: asyncio.TimerHandle | None = None
        self._last_begun: float | None = None  # while the next one waits
        self._crowded_at = clock.steady()
        self._booked_until = 0.0
        self._spread: int | None = None  # in milliseconds, while the node drains
        self.seconds_each = SECONDS_EACH
        """What the node needs for a client, joins included."""
        self.refused: Counter[Close] = Counter({Close.OVERLOADED: 0, Close.DRAINING: 0})
        self._reported = 0

    @property
    def waiting(self) -> int:
        """Return how many newcomers wait for their turn."""
        return len(self._waiting)

    @property
    def at_once(self) -> int:
        """Return how many handshakes may begin in a turn of the event loop."""
        return self._turns.at_once()

    def arrive(self, newcomer: Newcomer) -> None:
        """Begin a newcomer's handshake now or in its turn, or send the newcomer away."""
        if self._spread is not None:
            self._send_away(newcomer, Close.DRAINING)
        elif not self._waiting and self.in_progress < MAX_IN_PROGRESS and self._turns.begin():
            self._begin(newcomer)
        elif self._has_room():
            self._wait(newcomer)
        else:
            self._send_away(newcomer, Close.OVERLOADED)

    def leave(self, newcomer: Newcomer) -> None:
        """Forget a waiting newcomer: its connection is gone."""
        self._waiting.pop(newcomer, None)

    def finish(self) -> None:
        """Count a handshake as finished: it has its answer, or its connection is gone."""
        self.in_progress -= 1
        self._call()

    def drain(self, spread_ms: int | None) -> None:
        """Send away all newcomers from now on, to come back within so many milliseconds. None undoes that."""
        self._spread = spread_ms
        self._call()

    def _wait(self, newcomer: Newcomer) -> None:
        now = self._clock.steady()
        if now - self._crowded_at > FORGET_SECONDS:
            self.seconds_each = SECONDS_EACH
        self._crowded_at = self._waiting[newcomer] = now
        self._call()
        self._watch()

    def _has_room(self) -> bool:
        is_full = 0 < self._most <= len(self._waiting)
        return not is_full and len(self._waiting) * self.seconds_each < MAX_WAIT_SECONDS

    def _call(self) -> None:
        """Ask for a turn, if there is something to do in it."""
        if not self._has_called and self._waiting and (self.in_progress < MAX_IN_PROGRESS or self._must_leave()):
            self._has_called = True
            self._turns.call(self._next)

    def _must_leave(self) -> bool:
        """Return whether the first newcomer has waited for too long, or the node drains."""
        arrived_at = next(iter(self._waiting.values()))
        return self._spread is not None or self._clock.steady() - arrived_at >= MAX_WAIT_SECONDS

    def _next(self) -> None:
        self._has_called = False
        if not self._waiting:
            return
        must_leave = self._must_leave()
        newcomer, _ = self._waiting.popitem(last=False)
        try:
            if must_leave:
                self._send_away(newcomer, Close.OVERLOADED if self._spread is None else Close.DRAINING)
            else:
                self._begin(newcomer)
        finally:
            self._call()

    def _begin(self, newcomer: Newcomer) -> None:
        now = self._clock.steady()
        if self._last_begun is not None:
            self.seconds_each += (now - self._last_begun - self.seconds_each) / SAMPLES
        self._last_begun = now if self._waiting else None
        self.in_progress += 1
        newcomer.begin_handshake()

    def _send_away(self, newcomer: Newcomer, close: Close) -> None:
        self.refused[close] += 1
        after_ms = self._book() if self._spread is None else secrets.randbelow(self._spread)
        newcomer.send_away(close, after_ms)

    def _book(self) -> int:
        """Return after how many milliseconds the node has time for one more client."""
        now = self._clock.steady()
        free_at = now + max(LEAST_AWAY_SECONDS, len(self._waiting) * self.seconds_each)
        self._booked_until = max(self._booked_until, free_at) + self.seconds_each * RETURN_SHARE
        seconds = self._booked_until - now
        if seconds > MAX_AWAY_SECONDS:
            # More clients than the node can take in that time. They come in its later half, and some must go again.
            self._booked_until = now + MAX_AWAY_SECONDS
            seconds -= secrets.randbelow(1000) / 1000 * MAX_AWAY_SECONDS / 2
        # A difference of two moments is inexact: what is beyond a microsecond is no part of the answer.
        return math.ceil(round(1000 * seconds, 3))

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._call()
        self._report()
        if self._waiting:
            self._watch()

    def _report(self) -> None:
        """Log how many newcomers were refused, if there are any since the last line."""
        refused = self.refused[Close.OVERLOADED]
        if refused > self._reported:
            logger.warning(
                "sent %d newcomers away for now: %d wait, and each takes this node %.1f ms",
                refused - self._reported,
                len(self._waiting),
                1000 * self.seconds_each,
            )
            self._reported = refused
