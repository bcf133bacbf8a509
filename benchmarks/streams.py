"""Measures many streams at once: `python -m benchmarks.streams`.

Each of 1,000 connections asks for tokens at the pace of a language model. Meanwhile, others measure the round trips of
an echo by the clock. The same echoes without a stream come before. The readers have a process of their own, which gives
way to no other; they check that every token comes.

Then some connections ask for a stream without a pause and read nothing. The gateway must end each of them.
"""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.child import ROOT
from benchmarks.pace import Pace, percentile, woken_first
from benchmarks.report import JsonFile, interruptible, machine, write_figures
from benchmarks.results import shown
from benchmarks.rig import Person, Server, cpu_seconds, database_for, memory_kb, populate, temporary_folder
from benchmarks.slow_reader import GIVEN_UP, NonReader
from benchmarks.stream_readers import StreamReaders
from benchmarks.upstream import Echoing, connected

WIDTH = 110
ECHOING = 20
ECHOES_PER_SECOND = 400
SETTLING_SECONDS = 0.5
WATCH_SECONDS = 0.05
UNREAD_CHUNKS = 10_000_000
GIVEN_UP_SECONDS = 60

Result = TypeVar("Result")


@dataclass(frozen=True)
class Streams:
    """The figures of some streams at once, next to the same connections at rest."""

    streams: int
    per_second: int
    """Tokens of all streams a second."""
    cpu: float
    """Microseconds of the gateway for each token, beyond those of the echoes."""
    kb: float
    """KB of memory gained for each stream, at its highest."""
    echo_p99: float
    """Milliseconds, while the streams run."""
    idle_p99: float
    """Milliseconds, without them."""


@dataclass(frozen=True)
class Unread:
    """The figures of streams that are not read."""

    streams: int
    kb: float
    """KB of memory gained for each, at its highest."""
    seconds: float
    """Until the gateway had ended all."""


class Bench:
    """A gateway, and the connections that measure it."""

    def __init__(self, server: Server, pid: int, people: Sequence[Person]) -> None:
        self._pid = pid
        self._log = server.log
        self._urls = [server.url(person.token) for person in people]
        self._taken: list[float] = []
        self._echoing = [Echoing(self._taken) for _ in range(ECHOING)]

    async def streams(self, count: int, rate: float, seconds: float) -> Streams:
        """Measure so many streams of `rate` tokens a second each."""
        await connected(self._echoing, self._urls[:ECHOING], b'{"type":"welcome"')
        async with StreamReaders(self._urls[ECHOING : ECHOING + count], seconds) as readers:
            await asyncio.sleep(SETTLING_SECONDS)
            await readers.read(max(1, round(rate)), rate)  # to warm up
            idle, idle_cpu = await self._echoes(seconds)
            tokens = max(1, round(rate * (seconds + 2 * SETTLING_SECONDS)))
            before, used = memory_kb(self._pid), cpu_seconds(self._pid)
            reading = asyncio.create_task(readers.read(tokens, rate))
            await asyncio.sleep(SETTLING_SECONDS)
            echoing = asyncio.create_task(self._echoes(seconds))
            most = await self._watched(reading)
            busy, _ = await echoing
            used = cpu_seconds(self._pid) - used - idle_cpu
        for client in self._echoing:
            client.hang_up()
        done = reading.result()
        return Streams(count, round(rate * count), 1e6 * used / done, (most - before) / count, busy, idle)

    async def unread(self, count: int) -> Unread:
        """Measure so many streams that are not read."""
        await asyncio.sleep(SETTLING_SECONDS)
        clients = [NonReader() for _ in range(count)]
        await connected(clients, self._urls[-count:], b'{"type":"welcome"')
        before, began = memory_kb(self._pid), asyncio.get_running_loop().time()
        for client in clients:
            client.send(b'{"type":"chunks","id":1,"stream":true,"data":{"count":%d}}' % UNREAD_CHUNKS)
            client.stop_reading()
        most = await self._watched(asyncio.create_task(self._given_up(clients)))
        return Unread(count, (most - before) / count, asyncio.get_running_loop().time() - began)

    async def _given_up(self, clients: Sequence[NonReader]) -> None:
        """Wait until the gateway closes all of them, then let them read why."""
        async with asyncio.timeout(GIVEN_UP_SECONDS):
            while self._log.read_text(encoding="utf-8").count(GIVEN_UP) < len(clients):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(WATCH_SECONDS)
            for client in clients:
                client.read_on()
            for client in clients:
                await client.lost.wait()

    async def _echoes(self, seconds: float) -> tuple[float, float]:
        """Echo for so many seconds. Return the p99 in milliseconds, and the gateway's CPU seconds."""
        self._taken.clear()
        used = cpu_seconds(self._pid)
        with woken_first():
            await Pace(ECHOES_PER_SECOND, lambda number: self._echoing[number % ECHOING].ask(number)).run(seconds)
            await asyncio.sleep(0.2)
        return 1000 * percentile(self._taken, 99), cpu_seconds(self._pid) - used

    async def _watched(self, task: "asyncio.Task[Result]") -> int:
        """Wait for a task, and return the most KB that the gateway had meanwhile."""
        most = memory_kb(self._pid)
        while not task.done():
            await asyncio.wait([task], timeout=WATCH_SECONDS)
            most = max(most, memory_kb(self._pid))
        task.result()
        return most


async def run(streams: int, unread: int, rate: float, seconds: float) -> tuple[Streams, Unread | None]:
    """Measure all figures."""
    people = [Person(f"person-{number}") for number in range(ECHOING + max(streams, unread))]
    with temporary_folder() as folder:
        database = database_for(f"sqlite:///{folder / 'gateway.db'}")
        try:
            await populate(database, people, {})
        finally:
            await database.close()
        environment = {"GATEWAY_REGISTRY": "benchmarks.streaming:REGISTRY", "PYTHONPATH": str(ROOT)}
        server = Server(folder, None, log_level="info", **environment)
        async with server.running() as pid:
            bench = Bench(server, pid, people)
            return await bench.streams(streams, rate, seconds), await bench.unread(unread) if unread else None


def lines_of(streams: Streams, unread: Unread | None) -> list[tuple[str, float]]:
    """Return each figure with its words."""
    lines = [
        ("streams at once", float(streams.streams)),
        ("tokens a second, of all streams", float(streams.per_second)),
        ("µs of CPU for a token", streams.cpu),
        ("KB gained for a stream", streams.kb),
        ("ms p99 of an echo, without streams", streams.idle_p99),
        ("ms p99 of an echo, beside them", streams.echo_p99),
        ("its ratio", streams.echo_p99 / streams.idle_p99),
    ]
    if unread is not None:
        lines += [
            ("streams that are not read", float(unread.streams)),
            ("KB gained for each of them", unread.kb),
            ("seconds until all of them were ended", unread.seconds),
        ]
    return lines


def table_of(lines: Iterable[tuple[str, float]]) -> Table:
    """Build the table."""
    table = Table(title="Streams at once", caption=machine(), show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for what, value in lines:
        table.add_row(what, shown(value))
    return table


def main(
    streams: Annotated[int, typer.Option(min=1, help="Streams at once.")] = 1000,
    unread: Annotated[int, typer.Option(min=0, help="Streams that are not read. 0 leaves them out.")] = 20,
    rate: Annotated[float, typer.Option(min=0.1, help="Tokens a second of each stream.")] = 10,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of the echoes, without and with streams.")] = 5,
    json: JsonFile = None,
) -> None:
    """Measure many streams at once, beside other messages."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    with interruptible(), console.status("streaming"):
        found, ended = uvloop.run(run(streams, unread, rate, seconds))
    lines = lines_of(found, ended)
    console.print(table_of(lines))
    if json is not None:
        results = [{"figure": figure, "value": value} for figure, value in lines]
        write_figures(json, {"machine": machine(), "results": results})


if __name__ == "__main__":
    typer.run(main)
