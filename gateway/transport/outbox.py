"""What one connection is still owed, bounded.

No connection waits for another: whoever has something to say puts it here and goes on. Most of the time that is a
write to the socket and nothing else. While the client does not read, frames wait here: half full, the outbox drops
typing and presence; full, it gives the connection up as a slow consumer, who comes back and resumes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.websockets import WebSocketDisconnect

from gateway.transport.frames import Frame, joined
from gateway.transport.writers import Writer, nothing


class Outbox:
    """Frames on their way to one socket, in order. An idle one has no task, no timer and no queue."""

    __slots__ = (
        "_bytes",
        "_close",
        "_closed",
        "_closing",
        "_count",
        "_drained",
        "_held",
        "_max_bytes",
        "_max_frames",
        "_overflow",
        "_waiting",
        "_writer",
        "dropped",
    )

    def __init__(self, writer: Writer, overflow: Callable[[], None], *, max_frames: int, max_bytes: int) -> None:
        """`overflow` is called once, when the outbox is full."""
        self._writer = writer
        self._writer.on_ready = self._pump
        self._overflow = overflow
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._waiting: list[Frame] = []
        self._held: list[Frame] | None = None
        self._count = 0
        self._bytes = 0
        self._close: Callable[[], Awaitable[None]] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._closed = False
        self.dropped = 0

    def reply(self, frame: Frame) -> None:
        """Send a reply or an error, ahead of the events that are held."""
        if self._closed:
            return
        if self._writer.ready and not self._waiting:
            self._writer.write(frame)
        elif self._takes(frame):
            self._waiting.append(frame)

    def deliver(self, frame: Frame) -> None:
        """Send an event."""
        if self._closed:
            return
        if self._held is not None:
            if self._takes(frame):
                self._held.append(frame)
        elif self._writer.ready and not self._count:  # so nothing is waiting
            self._writer.write(frame)
        elif self._takes(frame):
            self._waiting.append(frame)

    def hold(self) -> None:
        """Keep events back until `release`: the reply to a message comes before what the message caused."""
        if self._held is None:
            self._held = []

    @property
    def holding(self) -> bool:
        """Whether a message is being handled, so that events are held."""
        return self._held is not None

    def release(self) -> None:
        """Let the events go that were held."""
        held, self._held = self._held, None
        if held:
            self._waiting += held
            self._pump()

    def close(self, last: Frame, close: Callable[[], Awaitable[None]]) -> None:
        """Send what is owed, then `last`, then `close` the socket; nothing more is taken."""
        if self._closed:
            return
        self._closed = True
        self._close = close
        self._waiting += [*(self._held or ()), last]
        self._held = None
        self._pump()

    def discard(self) -> None:
        """Forget what is owed: there is nobody to send it to, or nobody who reads."""
        self._closed = True
        self._waiting.clear()
        self._held = None

    def detach(self) -> None:
        """Forget also who is to be told: nothing comes any more, and nothing goes."""
        self.discard()
        self._overflow = self._writer.on_ready = nothing
        self._close = None

    async def wait_closed(self) -> None:
        """Wait until what `close` was given has closed the socket."""
        if self._close is not None and self._closing is None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def _takes(self, frame: Frame) -> bool:
        if frame.droppable and (2 * self._count >= self._max_frames or 2 * self._bytes >= self._max_bytes):
            self.dropped += frame.count
            return False
        if self._count >= self._max_frames or self._bytes + len(frame.wire) > self._max_bytes:
            # Full. Blocking would make everybody wait for this reader, and dropping would leave it a gap
            # that it does not know of; a closed connection is a gap that it does.
            self.discard()
            self._overflow()
            return False
        self._count += frame.count
        self._bytes += len(frame.wire)
        return True

    def _pump(self) -> None:
        """Write what is waiting, if the writer takes it, in one write."""
        if not self._writer.ready:
            return
        if self._waiting:
            frames, self._waiting = self._waiting, []
            self._count = sum(frame.count for frame in self._held or ())
            self._bytes = sum(len(frame.wire) for frame in self._held or ())
            self._writer.write(joined(frames))
        if self._close is not None and self._closing is None and self._writer.ready:
            self._closing = asyncio.create_task(self._end(self._close))
            if self._drained is not None and not self._drained.done():  # who waited may have given up
                self._drained.set_result(None)

    async def _end(self, close: Callable[[], Awaitable[None]]) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, OSError):  # who is gone needs no close
            await close()
