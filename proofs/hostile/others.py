"""The well-behaved clients beside the hostile ones, in a process of their own: they talk, and time what they hear."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from picows import WSTransport

from benchmarks.client import Client
from benchmarks.dialects import enter_all
from benchmarks.pace import Pace, percentile, woken_first
from benchmarks.room_dialects import Authenticated
from benchmarks.talk import room_message
from proofs.child import serve

MESSAGES = 100
"""Messages a second of all together."""

HEARD_SECONDS = 30
SETTLING_SECONDS = 1.0
START = b'"text":"'


class Other(Client):
    """A client that behaves well."""

    def __init__(self, taken: list[float]) -> None:
        super().__init__()
        self._taken = taken
        self.lost = False

    def say(self, number: int, room: str) -> None:
        """Send a message with the current time."""
        self.send(room_message(number, b"%d Hello" % time.perf_counter_ns(), room))

    def take(self, text: bytes) -> None:
        """Note how long a message took."""
        if text.startswith(b'{"type":"chat.message"'):
            start = text.index(START) + len(START)
            self._taken.append((time.perf_counter_ns() - int(text[start : text.index(b" ", start)])) / 1e9)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the loss."""
        super().on_ws_disconnected(transport)
        self.lost = True


class Others:
    """All of them, ten in a room."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._dialect = Authenticated(orders["port"], orders["tokens"])
        self._size: int = orders["room_size"]
        self._taken: list[float] = []
        self._others = [Other(self._taken) for _ in orders["tokens"]]
        self._said = 0

    async def come(self) -> None:
        """Connect, and join the rooms."""
        for first in range(0, len(self._others), self._size):
            room = f"/room/room-{first // self._size}"
            await enter_all(self._dialect, self._others[first : first + self._size], room, first)
        await asyncio.sleep(SETTLING_SECONDS)
        for other in self._others:
            other.listen()

    async def answer(self, line: str) -> object:
        """Talk for so many seconds, and return the p99 of all deliveries in milliseconds, and what went wrong."""
        self._taken.clear()
        pace = Pace(MESSAGES, self._say)
        with woken_first():
            await pace.run(float(line))
            for _ in range(HEARD_SECONDS * 50):
                if len(self._taken) >= pace.done * self._size:
                    break
                await asyncio.sleep(0.02)
        return {
            "p99": 1000 * percentile(self._taken, 99),
            "p50": 1000 * percentile(self._taken, 50),
            "late": 1000 * percentile(pace.late, 99),
            "missing": pace.done * self._size - len(self._taken),
            "heard": len(self._taken),
            "cut": sum(other.lost for other in self._others),
        }

    def _say(self, number: int) -> None:
        place = (number * 7) % len(self._others)
        self._others[place].say(number, f"room-{place // self._size}")


async def _begin(orders: dict[str, Any]) -> Callable[[str], Awaitable[object]]:
    others = Others(orders)
    await others.come()
    return others.answer


if __name__ == "__main__":
    uvloop.run(serve(_begin))
