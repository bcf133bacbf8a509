"""Turns: lets heavy work through the event loop in pieces, so that light work comes in between.

An event loop does all work that is ready before it looks for more. When thousands of clients come at once, that can
take as long as all of their handshakes or joins together, and every other message waits. So such work takes a turn
first, and few pieces begin in each turn of the loop. While no other piece waits, a piece begins at once.

Pieces in a row cost less than pieces with other work in between. So the loop begins several in a turn, but only one
while others have messages.

A thread waits for the interpreter until the loop sleeps, or for 5 ms. Beside a crowd the loop never sleeps, and a
commit needs several such waits. So threads get the interpreter sooner while pieces wait.

Clients that are here go first: a handshake waits while joins do. No more than `MOST_BEFORE` joins pass it, so that a
flood of them does not lock newcomers out.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from contextvars import copy_context

from gateway.core.faults import contained

MOST_BEFORE = 16

AT_ONCE = 64
"""Pieces that begin in a turn of the loop while others have no messages. The first message waits some milliseconds."""

BUSY_SECONDS = 0.1
"""Others have messages if one has come within so many seconds."""

CROWDED_SWITCH_SECONDS = 0.0005
"""How long a thread waits for the interpreter while pieces wait. At all times, this would make commits too small."""


class Turns:
    """The turns of one event loop, in the order in which they were asked for."""

    def __init__(self, messages: Callable[[], int]) -> None:
        """Take a function that returns how many messages have come that need no turn."""
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of the connection which happens to begin
        self._messages = messages
        self._seen = messages()
        self._busy_until = 0.0
        self._tasks: deque[asyncio.Future[None]] = deque()
        self._calls: deque[Callable[[], object]] = deque()
        self._passed = 0
        self._left = 0
        self._is_running = False
        self._switch_seconds: float | None = None  # the process' own, while pieces wait

    @property
    def waiting(self) -> int:
        """Return how many tasks wait for a turn."""
        return len(self._tasks)

    def begin(self) -> bool:
        """Return whether a piece of work may begin at once, and count it."""
        if self._tasks or self._calls:
            return False
        self._run()
        if not self._left:
            return False
        self._left -= 1
        return True

    async def take(self) -> None:
        """Wait for a turn, in the order of the calls."""
        if not self.begin():
            turn = self._loop.create_future()
            self._tasks.append(turn)
            await turn

    def call(self, work: Callable[[], object]) -> None:
        """Call `work` in a turn, when no task waits for one."""
        self._calls.append(work)
        self._run()

    def at_once(self) -> int:
        """Return how many pieces may begin in a turn of the loop."""
        if self._seen != (seen := self._messages()):
            self._seen = seen
            self._busy_until = self._loop.time() + BUSY_SECONDS
            return 1
        return 1 if self._loop.time() < self._busy_until else AT_ONCE

    def _run(self) -> None:
        if not self._is_running:
            self._is_running = True
            self._left = self.at_once()
            self._loop.call_soon(self._next, context=self._context)

    def _next(self) -> None:
        """Begin the pieces of a turn of the loop, and go on in the next one."""
        if not self._tasks and not self._calls:
            self._is_running = False
            self._switch_as_before()
            return
        self._switch_sooner()
        self._left = self.at_once()
        while self._left and (self._tasks or self._calls):
            self._left -= 1
            self._begin_one()
        self._loop.call_soon(self._next, context=self._context)

    def _begin_one(self) -> None:
        if self._tasks and (self._passed < MOST_BEFORE or not self._calls):
            self._passed += bool(self._calls)
            turn = self._tasks.popleft()
            if not turn.done():  # its task may have been cancelled
                turn.set_result(None)
        else:
            self._passed = 0
            with contained("turns"):
                self._calls.popleft()()

    def _switch_sooner(self) -> None:
        own = sys.getswitchinterval()
        if own > CROWDED_SWITCH_SECONDS:  # or another loop of this process has a crowd too
            self._switch_seconds = own
            sys.setswitchinterval(CROWDED_SWITCH_SECONDS)

    def _switch_as_before(self) -> None:
        if self._switch_seconds is not None:
            sys.setswitchinterval(self._switch_seconds)
            self._switch_seconds = None
