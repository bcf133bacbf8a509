"""The outbox: frames that wait until one client reads them, in a bounded queue.

No connection waits for another: a sender puts its frame into the outbox and continues. Usually that is one write to the
socket and nothing else. Frames wait here only while the client does not read. A half-full outbox drops typing and
presence events. A full one closes the connection as a slow consumer. That client reconnects and resumes.

Chunks of answers do not fill it: a sender of chunks can wait, and other senders cannot. In a half-full outbox, texts of
one answer are joined while they wait, and other chunks wait for room outside. So do those that would fill more than
three quarters of its bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.websockets import WebSocketDisconnect

from gateway.core.histograms import Histogram
from gateway.transport.chunks import Chunks, WaitingText
from gateway.transport.frames import Frame, joined
from gateway.transport.writers import Writer, nothing

ROOM_SECONDS = 10
"""How long a chunk waits for room before the client counts as a slow consumer."""


SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Upper bounds for how full an outbox was."""


class OutboxFigures:
    """The outboxes of this process that are not empty, and what has become of others."""

    def __init__(self) -> None:
        self.waiting: set[Outbox] = set()
        """The outboxes with frames for a client that does not read at this moment."""
        self.peaks = Histogram(SHARES)
        """How full an outbox was when its client read again, or when its connection was closed for it."""
        self.dropped = 0
        """Droppable events that a half-full outbox did not take."""


figures = OutboxFigures()
"""Outboxes are counted for the whole process: each has as many slots as it needs, and no more."""


class Outbox:
    """Frames for one socket, in order. An idle outbox has no task, no timer and no queue."""

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
        "_reply",
        "_room",
        "_texts",
        "_waiting",
        "_writer",
        "dropped",
    )

    def __init__(self, writer: Writer, overflow: Callable[[], None], *, max_frames: int, max_bytes: int) -> None:
        """Prepare an empty outbox. A full outbox calls `overflow`, once."""
        self._writer = writer
        self._writer.on_ready = self._pump
        self._overflow = overflow
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._waiting: list[Frame] = []
        self._held: list[Frame] | None = None
        self._reply: Frame | None = None
        self._count = 0
        self._bytes = 0
        self._close: Callable[[], Awaitable[None]] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._texts: list[WaitingText] | None = None
        self._closed = False
        self.dropped = 0

    def reply(self, frame: Frame, *, at_once: bool = False) -> None:
        """Send a reply or an error: at once, or with the events that are held, before them.

        An answer that caused none of the held events goes out `at_once`.
        """
        if self._closed:
            return
        if not self._writer.ready or self._waiting:
            if self._takes(frame):
                self._wait_with(frame)
        elif at_once or self._held is None or self._reply is not None:
            self._flush_reply()
            self._writer.write(frame)
        else:
            self._reply = frame

    def takes_chunk(self, chunks: Chunks, data: bytes, *, is_text: bool) -> bool:
        """Send the next chunk of an answer, which is JSON, before the events that are held.

        Return False if it must wait: then call `wait_for_room` and try again. Raises `ValueError` for a chunk that is
        longer than clients accept.
        """
        if self._writer.ready and not self._waiting and not self._closed:
            if self._reply is not None:
                self._flush_reply()
            self._writer.write(chunks.next_frame(data))
            return True
        return self._closed or self._lets_wait(chunks, data, is_text)

    def _lets_wait(self, chunks: Chunks, data: bytes, is_text: bool) -> bool:
        """Append a chunk to what waits, or to the text that waits, and return whether there is room."""
        if 2 * self._bytes >= self._max_bytes or 4 * (self._bytes + len(data)) > 3 * self._max_bytes:
            return False  # a quarter is left for events, and for what a frame has around its data
        if 2 * self._count >= self._max_frames:
            if not is_text:
                return False
            if (growth := chunks.join(data)) is not None:
                self._bytes += growth
                return True
            if self._count >= self._max_frames:
                return False
        if is_text:
            text = chunks.waiting_text(data)
            if self._texts is None:
                self._texts = []
            self._texts.append(text)
            frame: Frame = text
        else:
            frame = chunks.next_frame(data)
        if self._takes(frame):
            self._wait_with(frame)
        return True

    def _wait_with(self, frame: Frame) -> None:
        self._waiting.append(frame)
        figures.waiting.add(self)

    async def wait_for_room(self) -> None:
        """Wait for the next write. Without one for `ROOM_SECONDS`, the connection ends as that of a slow consumer."""
        if self._room is None:
            self._room = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([self._room], timeout=ROOM_SECONDS)
        if not done:
            self._end_slow()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set_result(None)

    @property
    def is_closed(self) -> bool:
        """Return whether nothing that is sent now reaches the client."""
        return self._closed or self._writer.closed

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
            self._wait_with(frame)

    def hold(self) -> None:
        """Hold events until `release`, so that the reply to a message goes out before the events that it caused."""
        if self._held is None:
            self._held = []

    @property
    def holding(self) -> bool:
        """Return whether a message is being handled, so that events are held."""
        return self._held is not None

    @property
    def backlog(self) -> float:
        """Return how full it is, from 0 to 1."""
        return max(self._count / self._max_frames, self._bytes / self._max_bytes)

    @property
    def waiting_bytes(self) -> int:
        """Return the bytes of the frames that wait."""
        return self._bytes

    def release(self) -> None:
        """Send the reply, and the events that were held, in one write."""
        held, self._held = self._held, None
        reply, self._reply = self._reply, None
        if not held:
            if reply is not None:
                self._writer.write(reply)
            return
        if reply is not None:
            held.insert(0, reply)
        if self._writer.ready and not self._waiting:
            self._count = self._bytes = 0
            self._writer.write(joined(held))
        else:
            self._waiting += held
            figures.waiting.add(self)
            self._pump()

    def close(self, last: Frame, close: Callable[[], Awaitable[None]]) -> None:
        """Send the waiting frames, then `last`, then `close` the socket. Accept no further frames."""
        if self._closed:
            return
        self._closed = True
        self._make_room()
        self._close = close
        self._flush_reply()
        self._waiting += [*(self._held or ()), last]
        self._held = None
        self._pump()

    def discard(self) -> None:
        """Drop the waiting frames: the client is gone, or does not read."""
        figures.waiting.discard(self)
        self._closed = True
        self._waiting.clear()
        self._held = self._reply = self._texts = None
        self._make_room()

    def detach(self) -> None:
        """Drop also the callbacks and the close: the socket is gone."""
        self.discard()
        self._overflow = self._writer.on_ready = nothing
        self._close = None

    async def wait_closed(self) -> None:
        """Wait until the socket is closed, if the outbox is to close it."""
        if self._close is not None and self._closing is None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self._closing is not None:
            await asyncio.wait([self._closing])

    def _flush_reply(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            self._writer.write(reply)

    def _takes(self, frame: Frame) -> bool:
        if frame.droppable and (2 * self._count >= self._max_frames or 2 * self._bytes >= self._max_bytes):
            self.dropped += frame.count
            figures.dropped += frame.count
            return False
        if self._count >= self._max_frames or self._bytes + len(frame.wire) > self._max_bytes:
            # Full. Waiting would delay all senders for this reader. Dropping would leave the reader a gap without its
            # knowledge. A closed connection is a gap that it knows of.
            self._end_slow()
            return False
        self._count += frame.count
        self._bytes += len(frame.wire)
        return True

    def _end_slow(self) -> None:
        figures.peaks.add(1.0)
        self.discard()
        self._overflow()

    def _pump(self) -> None:
        """Write all waiting frames at once, if the writer is ready."""
        if not self._writer.ready:
            return
        if self._waiting:
            self._seal_texts()
            figures.peaks.add(self.backlog)
            figures.waiting.discard(self)
            frames, self._waiting = self._waiting, []
            self._count = sum(frame.count for frame in self._held or ())
            self._bytes = sum(len(frame.wire) for frame in self._held or ())
            self._writer.write(joined(frames))
        self._make_room()
        if self._close is not None and self._closing is None and self._writer.ready:
            self._closing = asyncio.create_task(self._run_close(self._close))
            if self._drained is not None and not self._drained.done():  # the waiting task may have been cancelled
                self._drained.set_result(None)

    def _seal_texts(self) -> None:
        texts, self._texts = self._texts, None
        for text in texts or ():
            text.seal()

    async def _run_close(self, close: Callable[[], Awaitable[None]]) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, OSError):  # a lost connection needs no close
            await close()
