"""Groups reads: while one statement is on its way, the next questions gather.

So thousands of clients that come back at once share a few statements, as messages share the commits of the log. A
single question waits for one turn of the event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Generic, TypeVar

from handlers.errors import Unavailable

MAX_BATCH = 200
"""Questions in one statement. With SQLite, the event loop waits for its answer."""

Key = TypeVar("Key")
Value = TypeVar("Value")

Read = Callable[[list[Key]], Awaitable[Mapping[Key, Value]]]
"""A function that reads the values of some keys, without the ones that do not exist."""


class GroupedReads(Generic[Key, Value]):
    """Answers questions of one kind, many with one statement. Each answer is newer than its question."""

    def __init__(self, read: Read[Key, Value], most: int = MAX_BATCH) -> None:
        """`most` is the number of questions in one statement."""
        self._read = read
        self._most = most
        self._waiting: dict[Key, list[asyncio.Future[Value | None]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value | None:
        """Return the value of a key, or None. Raise `Unavailable` if the store does not answer."""
        future: asyncio.Future[Value | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_all())
        return await future

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                await self._read_some({key: self._waiting.pop(key) for key in list(islice(self._waiting, self._most))})
                await asyncio.sleep(0)  # SQLite reads without a pause for other tasks
        finally:
            self._reading = None

    async def _read_some(self, batch: dict[Key, list["asyncio.Future[Value | None]"]]) -> None:
        try:
            found = await self._read(list(batch))
        except Unavailable as error:
            # The questions since then would wait as long again, and for the same answer.
            _refuse(batch, error)
            _refuse(self._waiting, error)
            self._waiting.clear()
        except Exception as error:
            await self._read_apart(batch, error)
        else:
            for key, futures in batch.items():
                for future in futures:
                    if not future.done():  # or its caller is gone
                        future.set_result(found.get(key))

    async def _read_apart(self, batch: dict[Key, list["asyncio.Future[Value | None]"]], error: Exception) -> None:
        """Read each value on its own, so that the one that broke the statement stops no other."""
        if len(batch) == 1:
            _refuse(batch, error)
            return
        for key, futures in batch.items():
            await self._read_some({key: futures})


def _refuse(batch: Mapping[Key, list["asyncio.Future[Value | None]"]], error: Exception) -> None:
    for futures in batch.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)
