"""A connection that asks a server with rooms, several questions at a time, and awaits the answers."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import orjson
from picows import WSTransport

from benchmarks.client import Client
from benchmarks.dialects import ECHO
from benchmarks.rig import ANSWER_SECONDS
from benchmarks.room_dialects import Answer, Position, Positions, RoomDialect, View

SomeDialect = TypeVar("SomeDialect", bound=RoomDialect)

FIRST_ID = 10
"""Dialects use the ids before it while they connect."""

RETRY_SECONDS = 1.0


class Asking(Client, Generic[SomeDialect]):
    """A connection with a token. A lost one fails all questions with `ConnectionError`."""

    def __init__(self, dialect: SomeDialect) -> None:
        super().__init__()
        self.dialect = dialect
        self.retry_seconds = RETRY_SECONDS
        """The delay after which a server that refuses this connection wants the next try."""
        self.told_to_wait = False
        """Whether the server has named that delay."""
        self._last_id = FIRST_ID
        self._questions: dict[int, asyncio.Future[Answer]] = {}
        self._lost = asyncio.Event()

    async def open(self, number: int) -> None:
        """Connect as one of the users, up to the welcome, or raise `OSError`."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self.dialect.enter(self, ECHO, number)
        self.listen()

    async def ask(self, question: Callable[[int], bytes]) -> Answer:
        """Send the question with its id, and return the answer."""
        number, answer = self._expect()
        self.send(question(number))
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answer

    async def join(self, room: str, since: Position | None = None) -> View:
        """Join a room, or raise `RefusedError`."""
        return self.dialect.view(await self.ask(lambda number: self.dialect.join(number, room, since)))

    async def join_with_history(self, room: str, head: Position) -> View:
        """Join a room and get its newest messages, or raise `RefusedError`."""
        return self.dialect.view(await self.ask(lambda number: self.dialect.join_with_history(number, room, head)))

    async def join_all(self, rooms: Positions) -> dict[str, Answer]:
        """Ask for all rooms at once, and return the answers."""
        questions = {room: self._expect() for room in rooms}
        for frame in self.dialect.join_all({questions[room][0]: (room, since) for room, since in rooms.items()}):
            self.send(frame)
        async with asyncio.timeout(ANSWER_SECONDS):
            return {room: await answer for room, (_, answer) in questions.items()}

    async def close(self) -> None:
        """Hang up."""
        self.hang_up()
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._lost.wait()

    def take(self, text: bytes) -> None:
        """Pass the answers on."""
        for number, answer in self.dialect.answers(text):
            asked = self._questions.pop(number, None)
            if asked is not None and not asked.done():
                asked.set_result(answer)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End all questions."""
        super().on_ws_disconnected(transport)
        self._lost.set()
        for asked in self._questions.values():
            if not asked.done():
                asked.set_exception(ConnectionError("a connection was lost"))

    def _begin(self, text: bytes) -> None:
        if text.startswith(b'{"type":"bye"'):
            after_ms = orjson.loads(text)["data"].get("after_ms")
            if after_ms is not None:
                self.told_to_wait, self.retry_seconds = True, after_ms / 1000
        super()._begin(text)

    def _expect(self) -> "tuple[int, asyncio.Future[Answer]]":
        if self._lost.is_set():
            raise ConnectionError("a connection was lost")
        self._last_id += 1
        asked = self._questions[self._last_id] = asyncio.get_running_loop().create_future()
        return self._last_id, asked
