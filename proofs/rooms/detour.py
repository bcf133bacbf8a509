"""A way to a node that delays, throttles, stalls and cuts connections, as a bad network does."""

import asyncio
import copy
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from tests.support.network import Machine

MOST_BYTES = 16_384
"""How many bytes pass at a time."""


@dataclass(frozen=True)
class Weather:
    """How bad the network is."""

    delay: float = 0.0
    """The most seconds that some bytes wait."""
    bytes_per_second: float = 0.0
    """0 means no limit."""
    life: float = 0.0
    """The mean seconds until a connection is cut, in the middle of a frame too. 0 means never."""
    stall: float = 0.0
    """The share of all passes that wait for `STALL_SECONDS`: for longer than clients have patience."""


CLEAR = Weather()
STALL_SECONDS = 10.0


def some_weather(chance: random.Random) -> Weather:
    """Choose a weather: each of its parts is there in one of two cases."""

    def sometimes(value: float) -> float:
        return value if chance.random() < 0.5 else 0.0

    return Weather(
        delay=sometimes(chance.uniform(0.005, 0.2)),
        bytes_per_second=sometimes(chance.uniform(8_000, 200_000)),
        life=sometimes(chance.uniform(0.5, 4)),
        stall=sometimes(0.002),
    )


class Address(Protocol):
    """What a detour needs to know of a server."""

    machine: Machine
    port: int


A = TypeVar("A", bound=Address)


class Detour(Generic[A]):
    """A port that leads to a node, for all connections in the same weather."""

    def __init__(self, server: A, chance: random.Random) -> None:
        self._to = server
        self._chance = chance
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.weather = CLEAR
        self.cuts = 0

    @property
    def server(self) -> A:
        """Return the node at the address of this detour."""
        assert self._listener is not None  # noqa: S101 - entered
        found = copy.copy(self._to)
        found.port = self._listener.sockets[0].getsockname()[1]
        return found

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None  # noqa: S101 - entered
        self._listener.close()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Cut all connections."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        writers = [writer]
        try:
            to_reader, to_writer = await asyncio.open_connection(self._to.machine.address, self._to.port)
            writers.append(to_writer)
            await self._pass_both(reader, writer, to_reader, to_writer)
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, or this is a cut
        finally:
            for each in writers:
                each.transport.abort()

    async def _pass_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        to_reader: asyncio.StreamReader,
        to_writer: asyncio.StreamWriter,
    ) -> None:
        """Pass bytes in both directions, until one end is gone or the time of the connection is over."""
        ways = [
            asyncio.create_task(each)
            for each in (self._pass(reader, to_writer), self._pass(to_reader, writer), self._cut())
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*ways, return_exceptions=True)

    async def _cut(self) -> None:
        """Return when the time of this connection is over."""
        while True:
            await asyncio.sleep(0.1)
            if self.weather.life and self._chance.random() < 0.1 / self.weather.life:
                self.cuts += 1
                return

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(MOST_BYTES):
            half = len(data) // 2
            for part in (data[:half], data[half:]):  # a cut in between leaves half a frame
                await self._wait(len(part))
                writer.write(part)
            await writer.drain()

    async def _wait(self, size: int) -> None:
        weather = self.weather
        seconds = self._chance.uniform(0, weather.delay)
        if weather.bytes_per_second:
            seconds += size / weather.bytes_per_second
        if self._chance.random() < weather.stall:
            seconds += STALL_SECONDS
        if seconds:
            await asyncio.sleep(seconds)
