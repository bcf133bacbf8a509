"""A message of the user's own that grows: the tokens of a language model, or the lines of a job."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gateway_client.errors import Lost, Refused
from gateway_client.messages import Message

if TYPE_CHECKING:
    from gateway_client.line import Line

MOST_IN_PIECE = 4000
"""The characters that a piece may have."""

MOST_WAITING = 16_000
"""The characters that wait to be sent. Beyond it, `append` waits."""

CONFLICT = 40900
BREATH_SECONDS = 1.0
"""The pause after a refusal that time may help."""


class Growing:
    """A message that grows piece by piece.

    `append` returns before its text has gone out, so that it keeps up with a fast source. The end of the block waits
    for all of it. A block that ends with an error leaves the message as it is, without its mark `done`.
    """

    def __init__(self, room: str, line: "Line") -> None:
        self.message: Message | None = None
        """The message as it began, once it has."""
        self._room = room
        self._line = line
        self._text = ""
        self._length = 0
        self._ended = False
        self._more = asyncio.Event()
        self._space = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write(), name="gateway_client growing")
        self._task.add_done_callback(lambda _: self._space.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None  # noqa: S101 - `__aenter__` has made it
        self._ended = True
        self._more.set()
        if error is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            return
        try:
            await self._task
        finally:
            self._task.cancel()

    async def append(self, text: str) -> None:
        """Add text to the end. Raise what an earlier piece has met."""
        if self._task is None or self._ended:
            raise RuntimeError("expected append() within `async with room.grow()`")
        self._text += text
        self._more.set()
        while len(self._text) > MOST_WAITING and not self._task.done():
            self._space.clear()
            await self._space.wait()
        if self._task.done():
            self._task.result()

    async def _write(self) -> None:
        while piece := await self._next_piece():
            if self.message is None:
                await self._begin(piece)
            else:
                await self._add(piece, done=False)
        if self.message is not None:
            await self._add("", done=True)

    async def _next_piece(self) -> str:
        """Return the text that waits, or nothing at the end."""
        while not self._text and not self._ended:
            self._more.clear()
            await self._more.wait()
        piece, self._text = self._text[:MOST_IN_PIECE], self._text[MOST_IN_PIECE:]
        self._space.set()
        return piece

    async def _begin(self, piece: str) -> None:
        answer = await self._line.ask("chat.send", {"room": self._room, "text": piece})
        self.message, self._length = Message.read(answer["message"]), len(piece)

    async def _add(self, piece: str, *, done: bool) -> None:
        """Add a piece. Its place `at` lets the gateway take it once, also if an answer was lost."""
        assert self.message is not None  # noqa: S101 - it has begun
        data = {"room": self._room, "message_id": self.message.id, "text": piece, "at": self._length}
        repeated = False
        while True:
            try:
                await self._line.ask("chat.append", data | ({"done": True} if done else {}))
            except Lost as lost:
                if lost.final:
                    raise
                repeated = True
            except Refused as refused:
                if repeated and self._has_come(refused, piece):
                    break
                if not refused.retryable:
                    raise
                await asyncio.sleep(max(refused.retry_after_ms / 1000, BREATH_SECONDS))
            else:
                break
        self._length += len(piece)

    def _has_come(self, refused: Refused, piece: str) -> bool:
        """Return whether an earlier try has added the piece, and only its answer was lost."""
        lengths = [each.message for each in refused.details if each.field == "data.at"]
        return refused.status == CONFLICT and (lengths == [f"expected {self._length + len(piece)}"] or not piece)
