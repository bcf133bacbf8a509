"""The first bytes of new connections, of which only a few are parsed in a turn of the event loop.

The loop reads all sockets that are ready before it does anything else. When thousands of clients come at once, to parse
all of their requests would take as long as a handshake of dozens. Later bytes of a connection are parsed on arrival.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context

from gateway.core.faults import contained

PORTION = 8
"""The least number of requests to parse in a turn of the event loop: at about 20 µs each, a sixth of a millisecond."""


class FirstBytes:
    """The connections with first bytes, in the order of their arrival."""

    def __init__(self) -> None:
        self._context = copy_context()
        self._portion = self._left = PORTION
        self._is_running = False
        self._waiting: deque[Callable[[], None]] = deque()

    def parse(self, work: Callable[[], None], at_once: int) -> None:
        """Call `work` now, or in a later turn of the loop if more than `at_once` have come in this one."""
        if not self._is_running:
            self._is_running = True
            self._portion = self._left = max(PORTION, at_once)
            asyncio.get_running_loop().call_soon(self._renew, context=self._context)
        if self._left:
            self._left -= 1
            work()
        else:
            self._waiting.append(work)

    def _renew(self) -> None:
        self._is_running = False
        for _ in range(min(self._portion, len(self._waiting))):
            with contained("first bytes"):
                self.parse(self._waiting.popleft(), self._portion)
