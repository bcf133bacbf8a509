"""Runs the work of SQLite in a few threads, away from the event loop.

Not an executor: its futures, which any thread may wait for, cost as much as a short transaction.
"""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Engine

Result = TypeVar("Result")

_Work = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Threads:
    """Runs work in a few threads. Work that waits too long for a free one fails with `TimeoutError`."""

    def __init__(self, name: str, count: int, seconds: float) -> None:
        self._name = name
        self._count = count
        self._threads: list[Thread] = []
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._busy = 0
        # Waiting here costs nothing; SQLite itself would wait for the lock of a writer in a loop of sleeps.
        self._free = asyncio.Semaphore(count)
        self._seconds = seconds

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run `work`. Its thread finishes it even if the caller no longer waits, and is free only then."""
        # Without this limit, each of many writers would wait for all before it, and then find the file locked.
        async with asyncio.timeout(self._seconds) if self._free.locked() else nullcontext():
            await self._free.acquire()
        try:
            running = self._submit(work)
        except BaseException:  # the system has no further thread
            self._free.release()
            raise
        return await running

    async def close(self, engine: Engine) -> None:
        """Wait for the work, and close the connections of `engine` and the threads."""
        for _ in range(self._count):
            await self._free.acquire()
        await self._submit(engine.dispose)
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        for _ in range(self._count - 1):
            self._free.release()

    def _submit(self, work: Callable[[], Result]) -> "asyncio.Future[Result]":
        if self._busy == len(self._threads):
            thread = Thread(target=self._run, name=f"{self._name}-{self._busy}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._busy += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._work.put((loop, future, work))
        return future

    def _run(self) -> None:
        while self._run_next():
            pass  # nothing of the work stays in memory meanwhile

    def _run_next(self) -> bool:
        """Run the next work in this thread, and return whether there may be more."""
        given = self._work.get()
        if given is None:
            return False
        loop, future, work = given
        try:
            finish = partial(self._finish, future, work(), None)
        except BaseException as error:
            finish = partial(self._finish, future, None, error)
        with suppress(RuntimeError):  # the loop has been closed, and nothing waits
            loop.call_soon_threadsafe(finish)
        return True

    def _finish(self, future: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
        self._busy -= 1
        self._free.release()
        if future.done():
            return  # the caller no longer waits
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
