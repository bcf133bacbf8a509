"""Counts the messages a second that a backend publishes to a room over HTTP: `python -m benchmarks.publish`.

Each backend has one request on its way and sends the next after the answer, which comes once the messages are on disk.
The listeners of the room are connections that count what they get. A batch has a hundred messages. The lines `socket`
send the same messages over the socket as members do: the difference is what HTTP costs.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer
import uvloop
from picows import ws_connect
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from benchmarks.client import Client
from benchmarks.durable import TEXT, Sample, Sender, machine_and_disk
from benchmarks.report import JsonFile, write_figures
from benchmarks.rig import (
    ANSWER_SECONDS,
    Person,
    Server,
    StoreKind,
    cpu_seconds,
    database_for,
    populate,
    store_url,
    temporary_folder,
)
from gateway.auth import service_keys
from gateway.store import services
from schemas.services import PUBLISH

ROOM = "everyone"
BATCH = 100
"""Messages of one batch."""

REST_SECONDS = 0.5
"""Seconds in which the server takes leave of the listeners."""

_JOINED = b'{"type":"reply","id":1'


class How(StrEnum):
    """The way of a message into the gateway."""

    PUBLISH = "publish"
    BATCH = "batch of 100"
    SOCKET = "socket"


@dataclass(frozen=True)
class Rate:
    """One line of the table. Latencies are milliseconds, CPU is microseconds of the server for each message."""

    store: str
    how: str
    listeners: int
    senders: int
    per_second: float
    delivered_per_second: float
    p50: float
    p99: float
    cpu: float


class Listener(Client):
    """A connection that counts the messages that it gets."""

    heard = 0

    async def join(self, url: str) -> None:
        """Connect, and join the room."""
        async with asyncio.timeout(ANSWER_SECONDS):
            welcomed = asyncio.ensure_future(self.wait_for(b'{"type":"welcome"'))
            await asyncio.sleep(0)
            await self.connect(url)
            await welcomed
            self.send(b'{"type":"room.join","id":1,"data":{"room":"%b","limit":0}}' % ROOM.encode())
            await self.wait_for(_JOINED)
        self.listen()

    def take(self, text: bytes) -> None:
        """Count a message."""
        self.heard += text.startswith(b'{"type":"chat.message"')


class Backend:
    """A connection of HTTP that publishes, and publishes again after each answer."""

    def __init__(self, port: int, key: str, how: How, sample: Sample) -> None:
        self._port = port
        message = {"rooms": [ROOM], "message": {"text": TEXT}}
        body = {"items": [{"operation": "publish", "data": message}] * BATCH} if how is How.BATCH else message
        path, content = "batch" if how is How.BATCH else "publish", json.dumps(body).encode()
        head = (
            f"POST /api/{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        self._request = head.encode() + content
        self._sample = sample
        self._count = BATCH if how is How.BATCH else 1
        self.stopped = False

    async def run(self) -> None:
        """Publish until it is stopped. Raise `RuntimeError` for a refusal."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while not self.stopped:
            began = time.perf_counter()
            writer.write(self._request)
            async with asyncio.timeout(ANSWER_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                answer = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200") or b'"error"' in answer:
                raise RuntimeError(f"a message was not stored: {answer.decode()}")
            for _ in range(self._count):
                self._sample.add(began)
        writer.close()
        await writer.wait_closed()


@dataclass(frozen=True)
class Load:
    """A running gateway, with the members of its room and the key of a service."""

    server: Server
    pid: int
    people: Sequence[Person]
    key: str

    @asynccontextmanager
    async def listening(self, count: int) -> AsyncIterator[list[Listener]]:
        """Connect members that hear the room."""
        hearing = [Listener() for _ in range(count)]
        for listener, person in zip(hearing, self.people, strict=False):
            await listener.join(self.server.url(person.token))
        try:
            yield hearing
        finally:
            for listener in hearing:
                listener.hang_up()
            await asyncio.sleep(REST_SECONDS)

    @asynccontextmanager
    async def sending(self, how: How, count: int, sample: Sample) -> AsyncIterator[None]:
        """Send messages in one way while the context lasts. Raise `RuntimeError` for one that is not stored."""
        if how is How.SOCKET:
            async with self._sending_by_socket(count, sample):
                yield
            return
        backends = [Backend(self.server.port, self.key, how, sample) for _ in range(count)]
        async with asyncio.TaskGroup() as tasks:
            for backend in backends:
                tasks.create_task(backend.run())
            yield
            for backend in backends:
                backend.stopped = True

    @asynccontextmanager
    async def _sending_by_socket(self, count: int, sample: Sample) -> AsyncIterator[None]:
        senders = [Sender([ROOM], sample, client_ids=False) for _ in range(count)]
        for sender, person in zip(senders, self.people, strict=False):
            await ws_connect(partial(_same, sender), self.server.url(person.token))
            sender.send()
        yield
        for sender in senders:
            sender.stopped = True
            await sender.close()
            if sender.failed is not None:
                raise RuntimeError(f"a message was not stored: {sender.failed.decode()}")


@dataclass
class Bench:
    """The combinations to measure, and the seconds for each."""

    store: StoreKind
    listeners: Sequence[int]
    senders: Sequence[int]
    seconds: float
    warm_up: float

    async def run(self, report: Callable[[str], None]) -> list[Rate]:
        """Measure every combination."""
        people = [Person(f"member-{number}") for number in range(max(*self.listeners, *self.senders))]
        with temporary_folder() as folder, store_url(self.store, folder) as url:
            database = database_for(url)
            try:
                await populate(database, people, {ROOM: people})
                key = await database.transact(_add_service)
            finally:
                await database.close()
            server = Server(folder, url)
            async with server.running() as pid:
                load = Load(server, pid, people, key)
                return [
                    await self._measure(load, how, listeners, senders, report)
                    for listeners in self.listeners
                    for senders in self.senders
                    for how in How
                ]

    async def _measure(self, load: Load, how: How, listeners: int, senders: int, report: Callable[[str], None]) -> Rate:
        report(f"{self.store}: {listeners} listeners, {senders} senders, {how}")
        sample = Sample()
        async with load.listening(listeners) as hearing, load.sending(how, senders, sample):
            await asyncio.sleep(self.warm_up)
            cpu, heard = cpu_seconds(load.pid), _heard(hearing)
            seconds = await sample.take(0, self.seconds)
            cpu, heard = cpu_seconds(load.pid) - cpu, _heard(hearing) - heard
        count = len(sample.seconds)
        return Rate(
            store=self.store,
            how=how,
            listeners=listeners,
            senders=senders,
            per_second=count / seconds,
            delivered_per_second=heard / seconds,
            p50=sample.latency(50),
            p99=sample.latency(99),
            cpu=1e6 * cpu / count,
        )


def _heard(hearing: Sequence[Listener]) -> int:
    return sum(listener.heard for listener in hearing)


def _same(sender: Sender) -> Sender:
    return sender


def _add_service(connection: Connection) -> str:
    now = time.time_ns() // 1_000_000
    row = services.add(connection, name="backend", kind="service", scopes=[PUBLISH], rooms=None, room=None, now=now)
    return service_keys.issue(connection, row, now).text


def table_of(results: Sequence[Rate]) -> Table:
    """Build the table of the results."""
    table = Table(title="Published to one room", caption=machine_and_disk())
    for heading in ("store", "how"):
        table.add_column(heading)
    for heading in ("listeners", "senders", "messages/s", "deliveries/s", "p50 ms", "p99 ms", "server µs"):
        table.add_column(heading, justify="right")
    for rate in results:
        table.add_row(
            *(rate.store, rate.how, f"{rate.listeners:,}", f"{rate.senders:,}"),
            *(f"{rate.per_second:,.0f}", f"{rate.delivered_per_second:,.0f}"),
            *(f"{rate.p50:.2f}", f"{rate.p99:.2f}", f"{rate.cpu:.0f}"),
        )
    return table


def main(
    store: Annotated[list[StoreKind] | None, typer.Option(help="Which stores; SQLite, if left out.")] = None,
    listeners: Annotated[list[int] | None, typer.Option(min=0, max=10_000, help="Listeners of the room.")] = None,
    senders: Annotated[list[int] | None, typer.Option(min=1, max=1000, help="Requests at the same time.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each measurement takes.")] = 5,
    warm_up: Annotated[float, typer.Option(min=0, max=60, help="How long to send before it.")] = 1,
    file: JsonFile = None,
) -> None:
    """Measure what services publish to one room, in messages a second and CPU of the server."""
    console = Console(width=110)
    results = [
        rate
        for kind in store or [StoreKind.SQLITE]
        for rate in uvloop.run(
            Bench(kind, listeners or [0, 1000], senders or [1, 10], seconds, warm_up).run(console.print)
        )
    ]
    table = table_of(results)
    console.print(table)
    if file is not None:
        write_figures(file, {"machine": str(table.caption), "results": [asdict(rate) for rate in results]})


if __name__ == "__main__":
    typer.run(main)
