"""Counts the messages a second that the gateway acknowledges, each on disk by then: `python -m benchmarks.durable`.

Each sender has one message on its way and sends the next after the answer. Senders are members of their rooms but do
not hear them, since the cost of a delivery is another question. The table also has the plain program for comparison:
each message is its own transaction, through the same engine, without a gateway.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, insert, select, update

from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import (
    Person,
    Server,
    StoreKind,
    cpu_seconds,
    database_for,
    populate,
    store_url,
    temporary_folder,
)
from gateway.core.clock import SystemClock, milliseconds
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.tables import messages, rooms

WIDTH = 110
"""The width of the table, also in a file."""

STALLED_SECONDS = 60
"""Seconds without an answer that end the measurement."""

TEXT = "The quick brown fox jumps over the lazy dog, and back again before anybody looks."

Places = list[list[str]]
"""The rooms that each sender uses, in turns."""


class Sample:
    """A count of the answers in the measured time."""

    def __init__(self) -> None:
        self.counting = False
        self.over = False
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
    """One line of the table. Latencies are milliseconds, CPU is microseconds of the server for each message."""

    store: str
    rooms: int
    senders: int
    per_second: float
    p50: float
    p99: float
    cpu: float
    plain_per_second: float
    plain_p50: float

    @property
    def ratio(self) -> float:
        """Return the rate divided by that of plain commits."""
        return self.per_second / self.plain_per_second


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
        with temporary_folder() as folder, store_url(self.store, folder) as url:
            database = database_for(url)
            try:
                await populate(database, people, self._membership(people))
                server = Server(folder, url)
                async with server.running() as pid:
                    return [
                        await self._measure(server, pid, database, people[:senders], places(senders, count), report)
                        for count in self.rooms
                        for senders in self.senders
                    ]
            finally:
                await database.close()

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
        server: Server,
        pid: int,
        database: Database,
        people: Sequence[Person],
        where: Places,
        report: Callable[[str], None],
    ) -> Result:
        count = len({name for names in where for name in names})
        report(f"{self.store}: {len(people)} senders, {count} rooms")
        sample, gateway_seconds, cpu = await self._through_gateway(server, pid, people, where)
        plain, plain_seconds = await self._plainly(database, people, where)
        return Result(
            store=self.store,
            rooms=count,
            senders=len(people),
            per_second=len(sample.seconds) / gateway_seconds,
            p50=sample.latency(50),
            p99=sample.latency(99),
            cpu=1e6 * cpu / len(sample.seconds),
            plain_per_second=len(plain.seconds) / plain_seconds,
            plain_p50=plain.latency(50),
        )

    async def _through_gateway(
        self, server: Server, pid: int, people: Sequence[Person], where: Places
    ) -> tuple[Sample, float, float]:
        sample = Sample()
        senders: list[Sender] = []
        for person, names in zip(people, where, strict=True):
            senders.append(await _connect(server, person, Sender(names, sample, self.client_ids)))
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
        return sample, seconds, cpu

    async def _plainly(self, database: Database, people: Sequence[Person], where: Places) -> tuple[Sample, float]:
        sample = Sample()
        writers = [
            asyncio.create_task(_write_plainly(database, person, names, sample))
            for person, names in zip(people, where, strict=True)
        ]
        seconds = await sample.take(self.warm_up / 2, self.seconds)
        sample.over = True
        # Not cancelled: a cancelled transaction locks the file until its connection is cleaned up.
        await asyncio.gather(*writers)
        return sample, seconds


async def _connect(server: Server, person: Person, sender: Sender) -> Sender:
    await ws_connect(lambda: sender, server.url(person.token))
    return sender


def places(senders: int, count: int) -> Places:
    """Share the rooms out: each sender gets at least one, and each room gets a sender."""
    if count == 1:
        return [["everyone"]] * senders
    return [
        [f"room-{number}" for number in range(sender % count, count, min(senders, count))] for sender in range(senders)
    ]


async def _write_plainly(database: Database, person: Person, names: Sequence[str], sample: Sample) -> None:
    clock = SystemClock()
    turn = 0
    while not sample.over:
        turn += 1
        began = time.perf_counter()
        try:
            await database.transact(partial(_add_one, person, names[turn % len(names)], milliseconds(clock)))
        except StoreUnavailable:
            continue  # a thousand writers on a slow disk wait for longer than the store allows
        sample.add(began)


def _add_one(person: Person, name: str, now: int, connection: Connection) -> None:
    room = connection.execute(select(rooms).where(rooms.c.name == name)).one()
    move = update(rooms).where(rooms.c.id == room.id).values(offset=rooms.c.offset + 1)
    offset = connection.execute(move.returning(rooms.c.offset)).scalar_one()
    row = {
        "room_id": room.id,
        "offset": offset,
        "changed": offset,
        "sender_id": person.id,
        "text": TEXT,
        "sent_at": now,
    }
    connection.execute(insert(messages).values(row))


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
    for heading in ("store", "rooms", "senders", "sends/s", "p50 ms", "p99 ms", "server µs", "plain/s", "plain p50 ms"):
        table.add_column(heading, justify="left" if heading == "store" else "right")
    table.add_column("ratio", justify="right")
    for result in results:
        table.add_row(
            result.store,
            f"{result.rooms:,}",
            f"{result.senders:,}",
            f"{result.per_second:,.0f}",
            f"{result.p50:.2f}",
            f"{result.p99:.2f}",
            f"{result.cpu:.0f}",
            f"{result.plain_per_second:,.0f}",
            f"{result.plain_p50:.2f}",
            f"{result.ratio:.1f}",
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
    """Measure acknowledged `chat.send` a second, next to plain commits."""
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
