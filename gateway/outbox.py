"""What one connection is still owed, bounded.

No connection waits for another: whoever has something to say puts it here and goes on. Half full, the outbox
drops typing and presence; full, it gives the connection up as a slow consumer, who comes back and resumes.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from starlette.websockets import WebSocketDisconnect

from gateway.transport.frames import Frame


class Outbox:
    """Frames on their way to one socket, in order. A task exists only while there is something to write."""

    __slots__ = (
        "_bytes",
        "_close",
        "_closed",
        "_frames",
        "_held",
        "_max_bytes",
        "_max_frames",
        "_overflow",
        "_send",
        "_writer",
        "dropped",
    )

    def __init__(
        self,
        send: Callable[[str], Awaitable[None]],
        overflow: Callable[[], None],
        *,
        max_frames: int,
        max_bytes: int,
    ) -> None:
        """`send` writes one text to the socket; `overflow` is called once, when the outbox is full."""
        self._send = send
        self._overflow = overflow
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: deque[Frame] = deque()
        self._held: deque[Frame] | None = None
        self._bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._close: Callable[[], Awaitable[None]] | None = None
        self._closed = False
        self.dropped = 0

    def answer(self, frame: Frame) -> None:
        """Send a reply or an error, ahead of the events that are held."""
        if self._takes(frame):
            self._put(frame)

    def deliver(self, frame: Frame) -> None:
        """Send an event."""
        if not self._takes(frame):
            return
        if self._held is None:
            self._put(frame)
        else:
            self._bytes += frame.size
            self._held.append(frame)

    def hold(self) -> None:
        """Keep events back until `release`: the reply to a message comes before what the message caused."""
        if self._held is None:
            self._held = deque()

    @property
    def holding(self) -> bool:
        """Whether a message is being handled, so that events are held."""
        return self._held is not None

    def release(self) -> None:
        """Let the events go that were held."""
        held, self._held = self._held, None
        for frame in held or ():
            self._bytes -= frame.size
            self._put(frame)

    def finish(self, last: Frame, close: Callable[[], Awaitable[None]]) -> None:
        """Send what is owed, then `last`, then `close` the socket; nothing more is taken."""
        if self._closed:
            return
        self.release()
        self._put(last)
        self._close = close
        self._closed = True

    def abandon(self) -> None:
        """Forget what is owed: there is nobody to send it to, or nobody who reads."""
        self._closed = True
        self._frames.clear()
        self._held = None
        self._bytes = 0
        if self._writer is not None:
            self._writer.cancel()

    async def flushed(self) -> None:
        """Wait until all that was taken has been written."""
        if self._writer is not None:
            await asyncio.wait([self._writer])

    def _takes(self, frame: Frame) -> bool:
        if self._closed:
            return False
        waiting = len(self._frames) + (len(self._held) if self._held is not None else 0)
        if frame.droppable and (2 * waiting >= self._max_frames or 2 * self._bytes >= self._max_bytes):
            self.dropped += 1
            return False
        if waiting >= self._max_frames or self._bytes + frame.size > self._max_bytes:
            # Full. Blocking would make everybody wait for this reader, and dropping would leave it a gap
            # that it does not know of; a closed connection is a gap that it does.
            self.abandon()
            self._overflow()
            return False
        return True

    def _put(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._bytes += frame.size
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._frames:
                frame = self._frames.popleft()
                await self._send(frame.text)
                self._bytes -= frame.size
            if self._close is not None:
                await self._close()
        except (WebSocketDisconnect, RuntimeError, OSError):
            # The client is gone. The endpoint hears of it as well, and cleans up.
            self._closed = True
            self._frames.clear()
        finally:
            self._writer = None
