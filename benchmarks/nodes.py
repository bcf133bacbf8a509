"""Measures a room with listeners on several nodes: `python -m benchmarks.nodes`.

It starts one gateway with its bus in memory, then one, two and three that share a bus and a store. Each has the same
room and as many listeners. First, ten of them send as fast as they receive their own messages. Then one sends 50
messages a second, for the times. Then ten send in a room that only the first node hears, for the cost to the others.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.dialects import ROOM, ROOM_NAME, enter_all
from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import Person, Server, cpu_seconds, database_for, populate, temporary_folder
from benchmarks.room_dialects import Authenticated
from benchmarks.talk import TEXT, Listening, Talk, room_message
from tests.support.postgres import fresh_database, running_postgres
from tests.support.valkey import running_valkey

TALKERS = 10
SETTLING_SECONDS = 1.0
EACH_SECOND = 50
ALL_HEARD_SECONDS = 30


@dataclass(frozen=True)
class Result:
    """One line of the table: microseconds of CPU for each delivery, and milliseconds from sending to receiving."""

    nodes: int
    shared: bool
    per_second: float
    cpu: float
    bus_cpu: float
    p50: float
    p99: float
    idle_cpu: float | None
    """The extra CPU of a node without listeners, in percent of a core."""

    @property
    def bus_share(self) -> float:
        """Return the bus's share of all CPU."""
        return self.bus_cpu / (self.cpu + self.bus_cpu)


class Timing(Listening):
    """A listener that also notes when the message sent at `said_at` arrives."""

    def __init__(self, dialect: Authenticated, talk: Talk, number: int, said_at: dict[int, float]) -> None:
        super().__init__(dialect, talk, number)
        self._said_at = said_at
        self.seconds: list[float] = []

    def take(self, text: bytes) -> None:
        """Note the time of arrival."""
        if self._said_at and TEXT in text and text.startswith(b'{"type":"chat.message"'):
            number = int(json.loads(text)["data"]["text"].partition(" ")[0])
            self.seconds.append(time.perf_counter() - self._said_at[number])
        else:
            super().take(text)


@dataclass
class Cluster:
    """Nodes and their connected clients."""

    servers: Sequence[Server]
    pids: Sequence[int]
    bus_pid: int | None
    people: Sequence[Person]

    def cpu(self) -> float:
        """Return the CPU seconds of all nodes."""
        return sum(map(cpu_seconds, self.pids))

    def bus_cpu(self) -> float:
        """Return the CPU seconds of the bus."""
        return 0.0 if self.bus_pid is None else cpu_seconds(self.bus_pid)

    async def measure(self, size: int, seconds: float) -> Result:
        """Measure all figures."""
        talk, said_at = Talk(size), dict[int, float]()
        listening = await self._come(size, talk, said_at, self.servers)
        before, bus_before, began = self.cpu(), self.bus_cpu(), time.perf_counter()
        await _talk(listening[:TALKERS], talk, seconds)
        elapsed = time.perf_counter() - began
        cpu, bus_cpu, heard = self.cpu() - before, self.bus_cpu() - bus_before, talk.heard
        times = await _time(listening, said_at, seconds)
        _hang_up(listening)
        return Result(
            nodes=len(self.servers),
            shared=self.bus_pid is not None,
            per_second=heard / elapsed,
            cpu=1e6 * cpu / heard,
            bus_cpu=1e6 * bus_cpu / heard,
            p50=1000 * times[len(times) // 2],
            p99=1000 * times[len(times) * 99 // 100],
            idle_cpu=await self._elsewhere(seconds) if len(self.servers) > 1 else None,
        )

    async def _come(self, size: int, talk: Talk, said_at: dict[int, float], servers: Sequence[Server]) -> list[Timing]:
        everyone = []
        for number, server in enumerate(servers):
            tokens = [person.token for person in self.people[number :: len(servers)]]
            dialect = Authenticated(server.port, tokens)
            share = len(range(number, size, len(servers)))
            here = [Timing(dialect, talk, number + len(servers) * each, said_at) for each in range(share)]
            await enter_all(dialect, here, ROOM)
            everyone.append(here)
        await asyncio.sleep(SETTLING_SECONDS)
        # The talkers come first, and are on every node.
        listening = [here[each] for each in range(size) for here in everyone if each < len(here)]
        for one in listening:
            one.listen()
        return listening

    async def _elsewhere(self, seconds: float) -> float:
        """Measure the cost to the other nodes of a room that only the first one hears."""
        talk = Talk(TALKERS)
        listening = await self._come(TALKERS, talk, {}, self.servers[:1])
        others = self.pids[1:]
        resting = sum(map(cpu_seconds, others))
        await asyncio.sleep(seconds)
        talking = sum(map(cpu_seconds, others))
        await _talk(listening, talk, seconds)
        used = sum(map(cpu_seconds, others)) - talking - (talking - resting)
        _hang_up(listening)
        return 100 * used / seconds / len(others)


async def _talk(talkers: Sequence[Listening], talk: Talk, seconds: float) -> None:
    for talker in talkers:
        talker.keep_talking()
    await asyncio.sleep(seconds)
    talk.stopped = True
    until = time.monotonic() + ALL_HEARD_SECONDS
    while talk.heard < talk.said * talk.size:
        if time.monotonic() > until:
            raise RuntimeError(f"{talk.said * talk.size:,} should have been heard, and {talk.heard:,} were")
        await asyncio.sleep(0.05)


async def _time(listening: Sequence[Timing], said_at: dict[int, float], seconds: float) -> list[float]:
    for number in range(int(seconds * EACH_SECOND)):
        said_at[number] = time.perf_counter()
        listening[0].send(room_message(number, b"%d %b" % (number, TEXT)))
        await asyncio.sleep(1 / EACH_SECOND)
    await asyncio.sleep(SETTLING_SECONDS)
    # Listeners on the last node; with several nodes, not the talker's.
    return sorted(listening[-1].seconds)


def _hang_up(listening: Sequence[Listening]) -> None:
    for one in listening:
        one.hang_up()


async def measure(nodes: int, *, shared: bool, size: int, seconds: float) -> Result:
    """Measure a number of nodes, on their own store and bus."""
    people = [Person(f"listener-{number}") for number in range(size)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        postgres = stack.enter_context(running_postgres(sync=True))
        url = stack.enter_context(fresh_database(postgres.url("postgres")))
        valkey = stack.enter_context(running_valkey()) if shared else None
        bus = {} if valkey is None else {"GATEWAY_BUS_URL": valkey.url}
        database = database_for(url)
        try:
            await populate(database, people, {ROOM_NAME: people})
        finally:
            await database.close()
        servers = [Server(folder, url, **bus) for _ in range(nodes)]
        pids = [await stack.enter_async_context(server.running()) for server in servers]
        return await Cluster(servers, pids, None if valkey is None else valkey.pid, people).measure(size, seconds)


def table_of(results: Sequence[Result], size: int) -> Table:
    """Build the table of the figures."""
    table = Table(title=f"A room of {size}, over several nodes")
    for title in (
        *("nodes", "bus", "deliveries/s", "µs of CPU a delivery, nodes", "bus", "share of the bus"),
        *("p50 ms", "p99 ms", "a node that does not hear it, % of a core"),
    ):
        table.add_column(title, justify="right")
    for each in results:
        table.add_row(
            str(each.nodes),
            "shared" if each.shared else "memory",
            f"{each.per_second:,.0f}",
            f"{each.cpu:.2f}",
            f"{each.bus_cpu:.3f}",
            f"{100 * each.bus_share:.1f} %",
            f"{each.p50:.1f}",
            f"{each.p99:.1f}",
            "" if each.idle_cpu is None else f"{each.idle_cpu:.1f}",
        )
    return table


async def nodes(size: int, seconds: float, most: int, report: Callable[[str], None]) -> list[Result]:
    """Measure one node alone, then one and more with a bus."""
    results = []
    for count, shared in ((1, False), *((number, True) for number in range(1, most + 1))):
        report(f"{count} nodes, bus {'shared' if shared else 'in memory'}")
        results.append(await measure(count, shared=shared, size=size, seconds=seconds))
    return results


def main(
    size: Annotated[int, typer.Option(min=TALKERS, max=5000, help="How many hear the room.")] = 300,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="For how long each is measured.")] = 5,
    most: Annotated[int, typer.Option(min=1, max=10, help="Up to how many nodes.")] = 3,
    json_file: JsonFile = None,
) -> None:
    """Measure deliveries over several nodes, and the cost of the bus."""
    console = Console(highlight=False, width=130)
    results = uvloop.run(nodes(size, seconds, most, console.print))
    console.print(table_of(results, size))
    if json_file is not None:
        write_figures(json_file, {"machine": machine(), "results": [asdict(each) for each in results]})


if __name__ == "__main__":
    typer.run(main)
