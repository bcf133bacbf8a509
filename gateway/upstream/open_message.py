"""A message that a worker has got, and the parts of its answer that wait to be read.

A worker may send chunks faster than the client of the message reads. The socket of a worker cannot wait for one client,
since other messages share it. So chunks wait here, up to a bound. Then the message fails, and no other one.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

from gateway.upstream.streams import LastPart, Part
from handlers.errors import UpstreamTimeout

MAX_UNREAD_BYTES = 1024 * 1024
"""What may wait of one answer before the message fails."""
MANY_CHUNKS = 64
"""How many chunks may wait before the worker is read no further in this turn of the event loop."""
CHUNK_BYTES = 128
"""What a chunk takes beside its text, roughly."""


class Parts:
    """The parts of an answer that wait to be read."""

    __slots__ = ("_bytes", "_error", "_news", "_waiting", "is_done", "last_size")

    def __init__(self) -> None:
        self.is_done = False
        """Whether nothing more may come: the message is answered, cancelled, or has failed."""
        self.last_size = 0
        """What the part that was read last has taken."""
        self._waiting: deque[tuple[Part, int]] = deque()
        """The parts, and what each takes."""
        self._bytes = 0
        self._error: Exception | None = None
        self._news: asyncio.Future[None] | None = None

    @property
    def are_many(self) -> bool:
        """Return whether the reader should have a turn before more comes."""
        return len(self._waiting) > MANY_CHUNKS

    def take_chunk(self, value: Any, size: int) -> bool:
        """Keep a chunk of so many bytes until it is read. Return False if too much waits already."""
        size += CHUNK_BYTES
        if self._bytes + size > MAX_UNREAD_BYTES:
            return False
        self._bytes += size
        self._waiting.append((value, size))
        self._wake()
        return True

    def take_answer(self, body: bytes) -> None:
        """Keep the answer until it is read."""
        self.is_done = True
        self._waiting.append((LastPart(body), 0))
        self._wake()

    def fail(self, error: Exception) -> None:
        """Let the message fail at once. Chunks that wait are of no use without an answer."""
        self.is_done = True
        self._waiting.clear()
        self._error = error
        self._wake()

    async def next(self, deadline: float) -> Part:
        """Return the next part, or raise the failure, or `UpstreamTimeout` at the deadline on the loop's clock."""
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._news = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news
            except TimeoutError:
                raise UpstreamTimeout("the worker did not answer in time") from None
        return self._next()

    def chunks_nowait(self, most_bytes: int) -> Iterator[Any]:
        """Yield the chunks that wait, as long as they take so many bytes together."""
        while self._waiting and self._waiting[0][1] <= most_bytes and not isinstance(self._waiting[0][0], LastPart):
            most_bytes -= self._waiting[0][1]
            yield self._next()

    def _next(self) -> Part:
        part, self.last_size = self._waiting.popleft()
        self._bytes -= self.last_size
        return part

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class OpenMessage(Parts):
    """A message that a worker has got, without its whole answer."""

    __slots__ = ("id", "number")

    def __init__(self, number: int, id: bytes) -> None:
        super().__init__()
        self.number = number
        self.id = id
