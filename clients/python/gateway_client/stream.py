"""An answer that comes in chunks."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Generic, Self, TypeVar

from gateway_client.connection import Connection, log
from gateway_client.errors import Lost, Overflowed, Refused
from gateway_client.kinds import chunk_as, closing_reply_as
from gateway_client.line import Line

Chunk = TypeVar("Chunk")
Reply = TypeVar("Reply")

STATUS_CANCELLED = 49900

MOST_CHUNKS = 1000
"""Chunks that wait for the loop. Texts beyond it are joined. Anything else ends the stream with `Overflowed`."""


class Chunks:
    """The chunks that have come and wait."""

    def __init__(self) -> None:
        self.asked: tuple[Connection, int] | None = None
        """The connection on which the message went out, and its id."""
        self.more = asyncio.Event()
        self.overflowed = False
        self.waiting: deque[Any] = deque()
        self._seq = 0

    def begin(self, connection: Connection, number: int) -> None:
        """Note that the message goes out."""
        self.asked = (connection, number)

    def take(self, seq: int, data: Any) -> None:
        """Keep a chunk."""
        if seq <= self._seq:
            log.warning("ignored chunk %d, which came twice", seq)
            return
        if seq != self._seq + 1:
            log.warning("chunk %d follows chunk %d", seq, self._seq)
        self._seq = seq
        self._keep(data)
        self.more.set()

    def finish(self, task: asyncio.Task[Any]) -> None:
        """Note that the answer has ended."""
        if not task.cancelled():
            task.exception()  # a loop that was left early does not ask for it
        self.more.set()

    def _keep(self, data: Any) -> None:
        if len(self.waiting) < MOST_CHUNKS:
            self.waiting.append(data)
        elif isinstance(data, str) and isinstance(self.waiting[-1], str):
            self.waiting[-1] += data
        else:
            self.overflowed = True


class Stream(Generic[Chunk, Reply]):
    """The chunks of one answer. The message goes out with the first step of the loop, or at `async with`."""

    def __init__(self, line: Line, type: str, data: Any, model: type | None) -> None:
        self._line = line
        self._type = type
        self._data = data
        self._model = model
        self._chunks = Chunks()
        self._task: asyncio.Task[Any] | None = None
        self._reply: list[Any] = []
        self._cancelled = False

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """Return the next chunk. Raise `Refused`, `Lost` or `Overflowed` if that is how the answer ends."""
        task = self._start()
        while not self._chunks.waiting:
            if self._chunks.overflowed:
                await self.aclose()
                raise Overflowed(f"over {MOST_CHUNKS} chunks wait for a loop that reads too slowly")
            if task.done():
                self._end(task)
                raise StopAsyncIteration
            self._chunks.more.clear()
            await self._chunks.more.wait()
        chunk: Chunk = chunk_as(self._model, self._type, self._chunks.waiting.popleft())
        return chunk

    @property
    def reply(self) -> Reply:
        """Return the closing reply, which comes after the last chunk."""
        if not self._reply:
            raise RuntimeError("expected the end of the loop: the reply comes after the last chunk")
        reply: Reply = self._reply[0]
        return reply

    async def cancel(self) -> None:
        """Ask the gateway to cancel the message. The loop gets what came before, and then `Refused` with 49900."""
        if self._chunks.asked is None:
            self._cancelled = True
            await self.aclose()  # nothing has gone out
        else:
            connection, number = self._chunks.asked
            with suppress(Refused, Lost):  # it has an answer by now
                await connection.call("cancel", {"id": number})

    async def aclose(self) -> None:
        """Leave the loop, and cancel the message if it has no answer yet."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def __del__(self) -> None:
        # A loop that was left with `break`, without `async with`.
        if self._task is not None and not self._task.done():
            with suppress(RuntimeError):  # the event loop is closed
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _start(self) -> "asyncio.Task[Any]":
        if self._task is None:
            chunks = self._chunks
            work = self._line.ask(self._type, self._data, on_chunk=chunks.take, on_begin=chunks.begin, cancels=True)
            self._task = asyncio.create_task(work, name=f"gateway_client stream {self._type}")
            self._task.add_done_callback(chunks.finish)
        return self._task

    def _end(self, task: "asyncio.Task[Any]") -> None:
        if self._cancelled:
            raise Refused(STATUS_CANCELLED, "cancelled", "the message was cancelled before it went out")
        if task.cancelled():
            raise StopAsyncIteration
        if not self._reply:
            self._reply.append(closing_reply_as(self._model, self._type, task.result()))
