"""Portions: lets many small pieces of work through the event loop, some of them in each of its turns.

An event loop does all work that is ready before it looks for more. When a thousand streams have a chunk at the same
moment, every other message would wait for all of them. While no other piece waits, a piece begins at once.
"""

import asyncio
import time
from collections import deque
from contextvars import copy_context

PORTION_SECONDS = 0.001
"""How long the pieces of one turn of the loop may take."""

AT_ONCE = 4
"""How many that have waited begin in one turn of the loop."""


class Portions:
    """The portions of one event loop, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of the connection which happens to begin
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ends_at = 0.0
        self._is_running = False

    def begin(self) -> bool:
        """Return whether a piece of work may begin at once, and count it."""
        if self._waiting:
            return False
        now = time.perf_counter()
        if not self._is_running:
            self._is_running = True
            self._ends_at = now + PORTION_SECONDS
            self._loop.call_soon(self._next, context=self._context)
        return now < self._ends_at

    def wait(self) -> "asyncio.Future[None]":
        """Return a future that is done when a piece may begin that `begin` has put off, in the order of the calls."""
        turn = self._loop.create_future()
        self._waiting.append(turn)
        return turn

    def _next(self) -> None:
        """Begin the next pieces, and go on in the next turn of the loop."""
        if not self._waiting:
            self._is_running = False
            return
        self._ends_at = time.perf_counter() + PORTION_SECONDS
        for _ in range(min(AT_ONCE, len(self._waiting))):
            turn = self._waiting.popleft()
            if not turn.done():  # its task may have been cancelled
                turn.set_result(None)
        self._loop.call_soon(self._next, context=self._context)
