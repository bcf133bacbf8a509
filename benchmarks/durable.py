"""Counts the messages a second that the gateway acknowledges, each on disk by then: `python -m benchmarks.durable`.

Each sender has one message on its way and sends the next after the answer. Senders are members of their rooms but do
not hear them, since the cost of a delivery is another question. On SQLite, the tutorial stands beside it: it checks the
same tokens and commits each message with sqlite3. The last columns are the floor: a program without a server and
without tokens, which only commits, with sqlite3 on one connection or with asyncpg on ten.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rich.console import Console
from rich.table import Table

from benchmarks.peers import tutorial_sqlite
from benchmarks.peers.processes import durable_tutorial
from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import Person, StoreKind, cpu_seconds, database_for, populate, store_url, temporary_folder
from benchmarks.room_dialects import Authenticated
from benchmarks.visit import Gateway

WIDTH = 110
"""The width of the table, also in a file."""

STALLED_SECONDS = 60
"""Seconds without an answer that end the measurement."""

FLOOR_CONNECTIONS = 10
"""Connections to PostgreSQL that commit at a time, without a server."""

FLOOR_TABLE = "CREATE TABLE floor (offset_ bigserial PRIMARY KEY, sender text NOT NULL, text text NOT NULL)"

TEXT = "The quick brown fox jumps over the lazy dog, and back again before anybody looks."

Places = list[list[str]]
"""The rooms that each sender uses, in turns."""


class Sample:
    """A count of the answers in the measured time."""

    def __init__(self) -> None:
        self.counting = False
        self.seconds: list[float] = []
        self._some = asyncio.Event()

    def add(self, began: float) -> None:
        """Count an answer to a request of the time `began`."""
        if self.counting:
            self.seconds.append(time.perf_counter() - began)
            self._some.set()

    async def take(self, warm_up: float, seconds: float) -> float:
        """Count for a while, at least until the first answer, and return the seconds."""
        await asyncio.sleep(warm_up)
        self.counting, began = True, time.perf_counter()
        await asyncio.sleep(seconds)
        async with asyncio.timeout(STALLED_SECONDS):
            # A shared disk may stall for longer than a short measurement takes.
            await self._some.wait()
        self.counting = False
        return time.perf_counter() - began

    def latency(self, percentile: int) -> float:
        """Return a percentile, in milliseconds."""
        return 1000 * sorted(self.seconds)[len(self.seconds) * percentile // 100]


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    store: str
    rooms: int
    senders: int
    gateway: "Rate"
    tutorial: "Rate | None"
    """On SQLite alone."""
    commits: float
    """Commits a second of a program without a server."""


@dataclass(frozen=True)
class Rate:
    """Acknowledged messages of one server. Latencies are milliseconds, CPU is microseconds for each message."""

    per_second: float
    p50: float
    p99: float
    cpu: float


class Sender(WSListener):
    """A connection that sends, and sends again after each answer."""

    def __init__(self, places: Sequence[str], sample: Sample, client_ids: bool) -> None:
        self._places = places
        self._sample = sample
        self._client_ids = client_ids
        self._sent = 0
        self._began = 0.0
        self._transport: WSTransport | None = None
        self.failed: bytes | None = None
        self.stopped = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Count an answer, and send the next message."""
        if frame.msg_type is not WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        if payload.startswith(b'{"type":"reply"'):
            self._sample.add(self._began)
            self.send()
        elif payload.startswith((b'{"type":"error"', b'{"type":"bye"')):
            self.failed = payload

    def send(self) -> None:
        """Send a message."""
        if self.stopped or self._transport is None:
            return
        self._sent += 1
        room = self._places[self._sent % len(self._places)]
        client_id = f',"client_id":"{id(self)}-{self._sent}"' if self._client_ids else ""
        self._began = time.perf_counter()
        frame = f'{{"type":"chat.send","id":{self._sent},"data":{{"room":"{room}","text":"{TEXT}"{client_id}}}}}'
        self._transport.send(WSMsgType.TEXT, frame.encode())

    async def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.disconnect()
            await self._transport.wait_disconnected()


@dataclass
class Bench:
    """The combinations to measure, and the seconds for each."""

    store: StoreKind
    senders: Sequence[int]
    rooms: Sequence[int]
    seconds: float
    warm_up: float
    client_ids: bool

    async def run(self, report: Callable[[str], None]) -> list[Result]:
        """Measure every combination."""
        people = [Person(f"sender-{number}") for number in range(max(self.senders))]
        tokens = [person.token for person in people]
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(temporary_folder())
            url = stack.enter_context(store_url(self.store, folder))
            database = database_for(url)
            try:
                await populate(database, people, self._membership(people))
            finally:
                await database.close()
            gateway = await stack.enter_async_context(Gateway(url, people, 4, "warning").running(folder))
            tutorial = None
            if self.store is StoreKind.SQLITE:
                peer = durable_tutorial(tokens, folder / "tutorial.db")
                tutorial = await stack.enter_async_context(peer.running(folder))
            floor = await commits_a_second(self.store, url, folder, self.seconds)
            return [
                await self._measure(gateway, tutorial, floor, places(senders, count), report)
                for count in self.rooms
                for senders in self.senders
            ]

    def _membership(self, people: Sequence[Person]) -> dict[str, Sequence[Person]]:
        members: dict[str, set[int]] = {}
        for count in self.rooms:
            for senders in self.senders:
                for sender, names in enumerate(places(senders, count)):
                    for name in names:
                        members.setdefault(name, set()).add(sender)
        return {name: [people[number] for number in sorted(found)] for name, found in members.items()}

    async def _measure(
        self,
        gateway: tuple[int, Authenticated],
        tutorial: tuple[int, Authenticated] | None,
        floor: float,
        where: Places,
        report: Callable[[str], None],
    ) -> Result:
        count = len({name for names in where for name in names})
        report(f"{self.store}: {len(where)} senders, {count} rooms")
        return Result(
            store=self.store,
            rooms=count,
            senders=len(where),
            gateway=await self._rate(*gateway, where),
            tutorial=await self._rate(*tutorial, where) if tutorial else None,
            commits=floor,
        )

    async def _rate(self, pid: int, dialect: Authenticated, where: Places) -> Rate:
        sample = Sample()
        senders = [
            await _connect(dialect.url(number), Sender(names, sample, self.client_ids))
            for number, names in enumerate(where)
        ]
        for sender in senders:
            sender.send()
        await asyncio.sleep(self.warm_up)
        before = cpu_seconds(pid)
        seconds = await sample.take(0, self.seconds)
        cpu = cpu_seconds(pid) - before
        for sender in senders:
            sender.stopped = True
            await sender.close()
            if sender.failed is not None:
                raise RuntimeError(f"a message was not acknowledged: {sender.failed.decode()}")
        count = len(sample.seconds)
        return Rate(count / seconds, sample.latency(50), sample.latency(99), 1e6 * cpu / count)


async def _connect(url: str, sender: Sender) -> Sender:
    await ws_connect(lambda: sender, url)
    return sender


def places(senders: int, count: int) -> Places:
    """Share the rooms out: each sender gets at least one, and each room gets a sender."""
    if count == 1:
        return [["everyone"]] * senders
    return [
        [f"room-{number}" for number in range(sender % count, count, min(senders, count))] for sender in range(senders)
    ]


async def commits_a_second(store: StoreKind, url: str, folder: Path, seconds: float) -> float:
    """Return the commits of one message each that a program without a server makes."""
    if store is StoreKind.SQLITE:
        return await asyncio.to_thread(_commits_of_sqlite, folder / "floor.db", seconds)
    return await _commits_of_postgresql(url, seconds)


def _commits_of_sqlite(file: Path, seconds: float) -> float:
    store = tutorial_sqlite.Store(str(file))
    count, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds:
        store.add("everyone", "sender", TEXT)
        count += 1
    store.close()
    return count / taken


async def _commits_of_postgresql(url: str, seconds: float) -> float:
    import asyncpg  # type: ignore[import-untyped] # it has no types; here, so that SQLite works without it

    connections = [await asyncpg.connect(url) for _ in range(FLOOR_CONNECTIONS)]
    await connections[0].execute(FLOOR_TABLE)
    ends = time.perf_counter() + seconds

    async def commit(connection: asyncpg.Connection) -> int:
        count = 0
        while time.perf_counter() < ends:
            await connection.execute("INSERT INTO floor (sender, text) VALUES ($1, $2)", "sender", TEXT)
            count += 1
        return count

    counts = await asyncio.gather(*map(commit, connections))
    await connections[0].execute("DROP TABLE floor")
    for connection in connections:
        await connection.close()
    return sum(counts) / seconds


def sync_milliseconds(folder: Path) -> float:
    """Measure an fdatasync on the disk of a folder: the median of a hundred, each after 4 KiB."""
    with (folder / "sync").open("wb") as file:
        taken = []
        for _ in range(100):
            file.write(os.urandom(4096))
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return 1000 * median(taken)


def machine_and_disk() -> str:
    """Describe this machine and the speed of its disk in a line."""
    with temporary_folder() as folder:
        sync = sync_milliseconds(folder)
    return f"{machine()}, fdatasync {sync:.2f} ms"


def table_of(results: Sequence[Result]) -> Table:
    """Build the table of the results."""
    table = Table(title="Durable sends", caption=machine_and_disk())
    for heading in ("store", "rooms", "senders", "sends/s", "p50 ms", "p99 ms", "server µs"):
        table.add_column(heading, justify="left" if heading == "store" else "right")
    for heading in ("tutorial/s", "its p50", "its µs", "commits/s, no server"):
        table.add_column(heading, justify="right")
    for result in results:
        ours, tutorial = result.gateway, result.tutorial
        table.add_row(
            *(result.store, f"{result.rooms:,}", f"{result.senders:,}"),
            *(f"{ours.per_second:,.0f}", f"{ours.p50:.2f}", f"{ours.p99:.2f}", f"{ours.cpu:.0f}"),
            *((f"{tutorial.per_second:,.0f}", f"{tutorial.p50:.2f}", f"{tutorial.cpu:.0f}") if tutorial else "–––"),
            f"{result.commits:,.0f}",
        )
    return table


def main(
    store: Annotated[list[StoreKind] | None, typer.Option(help="Which stores; both, if left out.")] = None,
    senders: Annotated[list[int] | None, typer.Option(min=1, max=10_000, help="How many senders.")] = None,
    rooms: Annotated[list[int] | None, typer.Option(min=1, max=10_000, help="How many rooms they send to.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each measurement takes.")] = 5,
    warm_up: Annotated[float, typer.Option(min=0, max=60, help="How long to send before it.")] = 1.5,
    client_ids: Annotated[bool, typer.Option(help="Whether messages carry a `client_id`.")] = True,
    json_file: JsonFile = None,
) -> None:
    """Measure acknowledged `chat.send` a second, beside the tutorial on sqlite3 and commits without a server."""
    console = Console(highlight=False, width=WIDTH)
    results = [
        result
        for kind in store or list(StoreKind)
        for result in uvloop.run(
            Bench(kind, senders or (1, 10, 100, 1000), rooms or (1, 1000), seconds, warm_up, client_ids).run(
                lambda line: print(line, file=sys.stderr)
            )
        )
    ]
    console.print(table_of(results))
    if json_file is not None:
        write_figures(json_file, {"machine": machine_and_disk(), "results": [asdict(result) for result in results]})


if __name__ == "__main__":
    typer.run(main)
