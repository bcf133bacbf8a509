"""Periodic work: one task that repeats the same work while a context lasts.

    async with Periodic("retention", 3600, self.prune, at_once=True):
        ...

An exception of the work is contained and counted (`gateway.core.faults`), and the next turn follows in any case.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from gateway.core.faults import contained
from gateway.core.tasks import cancel_and_wait
from handlers.errors import Unavailable

finished: dict[str, float] = {}
"""When each kind of work was last done to its end in this process, on the monotonic clock.

Work that fails again and again, or that hangs, is older and older.
"""

Pause = float | None | Callable[[], float | None]
"""The seconds between two turns, or a function that returns them; None waits until `wake` is called."""


class Periodic:
    """Repeats its work after a number of seconds, or earlier when it is woken."""

    def __init__(
        self,
        loop: str,
        pause: Pause,
        work: Callable[[], Awaitable[object]],
        *,
        at_once: bool = False,
        expected: tuple[type[Exception], ...] = (Unavailable,),
    ) -> None:
        """`loop` is the name under which faults are counted. The first turn comes after a pause, unless `at_once`.

        What is `expected` ends a turn and is no fault: the module that raises it has logged it.
        """
        self._loop = loop
        self._pause = pause if callable(pause) else lambda: pause
        self._work = work
        self._at_once = at_once
        self._expected = expected
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start."""
        finished[self._loop] = time.monotonic()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, even in the middle of a turn."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            finished.pop(self._loop, None)

    def wake(self) -> None:
        """Start the next turn now, or right after the current one."""
        self._woken.set()

    async def _run(self) -> None:
        if not self._at_once:
            await self._rest()
        while True:
            self._woken.clear()
            with contained(self._loop), suppress(*self._expected):
                await self._work()
                finished[self._loop] = time.monotonic()
            await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause()):  # `wait_for` may lose a cancellation
                await self._woken.wait()
