"""A client that asks and hears: answers go to their questions, events are kept."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from proofs.input.line import WAIT_SECONDS, Line, opened
from tests.support.wire import CLOSE, TEXT, frame

Frame = dict[str, Any]


class Talker:
    """A connection as a user."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Frame]] = {}
        self._heard = asyncio.Event()
        self.events: list[Frame] = []
        self.errors: list[Frame] = []
        """Answers to what has no id that the gateway could read."""
        self._reading = asyncio.create_task(self._read())

    async def ask(self, type: str, **data: Any) -> Frame:
        """Send a message, and return its reply or error."""
        number = next(self._ids)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        await self._line.say({"type": type, "id": number, "data": data})
        async with asyncio.timeout(WAIT_SECONDS):
            return await answer

    async def send(self, text: str) -> Frame:
        """Send a text that is no message, or a wrong one without an id. Return the error that answers it."""
        self.errors.clear()
        await self._line.write(frame(text))
        await self.ask("ping")
        return self.errors[0] if self.errors else {}

    async def events_of(self, type: str, count: int, part: Callable[[Frame], Any]) -> list[Any]:
        """Wait until so many events of a type have come, and return a part of each. There may be fewer, too late."""
        found: list[Any] = []
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    self._heard.clear()
                    found = [part(event["data"]) for event in self.events if event["type"] == type]
                    if len(found) >= count:
                        break
                    await self._heard.wait()
        except TimeoutError:
            pass
        return found

    def forget(self) -> None:
        """Forget the events so far."""
        self.events.clear()

    async def close(self) -> None:
        """Stop."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        while (received := await self._next()) is not None:
            opcode, payload = received
            if opcode == CLOSE:
                break
            if opcode == TEXT:
                self._take(json.loads(payload))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the gateway has closed the connection"))

    async def _next(self) -> tuple[int, bytes] | None:
        while True:
            try:
                return await self._line.read()
            except TimeoutError:
                continue  # nothing happens in its rooms

    def _take(self, got: Frame) -> None:
        answer = self._answers.pop(got["id"], None) if isinstance(got.get("id"), int) else None
        if answer is not None and not answer.done():
            answer.set_result(got)
        elif got["type"] == "error" and got["id"] is None:
            self.errors.append(got)
        elif "data" in got and answer is None:
            self.events.append(got)
            self._heard.set()


@asynccontextmanager
async def talking(port: int, token: str) -> AsyncIterator[Talker]:
    """Connect as a user."""
    async with opened(port, token) as line:
        talker = Talker(line)
        try:
            yield talker
        finally:
            await talker.close()
