"""What a message, a delivery and a connection cost, next to other servers: `python -m benchmarks.transport`.

Each server is a process of its own and is started in turn, in every round anew; this process is the load, the same for
all of them. A figure is the median of the rounds. CPU is that of the server's process, with all its threads.

The gateway does more than its peers: it has checked a token, validates each message, answers it by its id, and stores
what is said in a room durably. A peer sends on what it got.
"""

import asyncio
import json
import os
import platform
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated, Protocol, TypeVar

import typer
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rich.console import Console
from rich.table import Table

from benchmarks.peers import BARE, TUTORIAL, node_peer
from benchmarks.rig import (
    Person,
    Server,
    StoreKind,
    cpu_seconds,
    database_for,
    memory_kb,
    populate,
    store_url,
    temporary_folder,
)

WIDTH = 110
"""Of the table, also where it goes into a file."""

ROOM = "everyone"
TEXT = b"The quick brown fox jumps over the lazy dog."
OPENING = 50
"""How many connections are opened at a time."""

VISIT_SECONDS = 120
"""The most that one figure of one server may take in one round."""

SPARE_FILES = 1000
WARM_CONNECTIONS = 200
MANY = 20_000


class Topic(StrEnum):
    """A group of figures that are measured together."""

    ECHO = "echo"
    DELIVERY = "delivery"
    CONNECTION = "connection"
    IDLE = "idle"


@dataclass(frozen=True)
class Sizes:
    """How much of it, and for how long."""

    echoing: int
    listening: int
    connecting: int
    idle: int
    seconds: float
    rounds: int

    def within(self, files: int) -> "Sizes":
        """Make it fit into the limit of open files, of which each connection takes one at either end."""
        most = max(1, (files - SPARE_FILES) // 2)
        return Sizes(
            min(self.echoing, most),
            min(self.listening, most),
            min(self.connecting, most),
            min(self.idle, most - WARM_CONNECTIONS),
            self.seconds,
            self.rounds,
        )


class Subject(Protocol):
    """A server to measure."""

    @property
    def name(self) -> str:
        """What it is called in the table."""

    def running(self, folder: Path) -> AbstractAsyncContextManager[tuple[int, str]]:
        """Start it, and stop it at the end; gives its pid and its address."""


class Gateway:
    """The gateway, with its store and its people in a folder."""

    name = "gateway"

    def __init__(self, url: str, people: Sequence[Person]) -> None:
        self._url = url
        self.people = people

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[tuple[int, str]]:
        """Start it, and stop it at the end; gives its pid and its address."""
        server = Server(folder, self._url)
        async with server.running() as pid:
            yield pid, f"ws://127.0.0.1:{server.port}"


class Client(WSListener):
    """A connection: first up to the welcome, if there is one, and into the room; then `take` gets what comes."""

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._heed: Callable[[bytes], None] = self._begin
        self.begins_with = b""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take what comes."""
        if frame.msg_type is WSMsgType.TEXT:
            self._heed(frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("a connection was lost"))

    def send(self, text: bytes) -> None:
        """Send a text."""
        assert self._transport is not None  # noqa: S101 - connected
        self._transport.send(WSMsgType.TEXT, text)

    async def wait_for(self, beginning: bytes) -> None:
        """Wait for a text that begins so."""
        self.begins_with = beginning
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def listen(self) -> None:
        """From now on `take` gets what comes."""
        self._heed = self.take

    def take(self, text: bytes) -> None:
        """Take a text."""

    def _begin(self, text: bytes) -> None:
        if self._waiting is not None and not self._waiting.done() and text.startswith(self.begins_with):
            self._waiting.set_result(None)


class Echoing(Client):
    """Says something, and something new when it has come back."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0
        self.stopped = False

    def say(self) -> None:
        """Send a message of about 120 bytes, with an id of its own."""
        self.send(b'{"type":"echo","id":%d,"data":{"text":"%b","n":[1,2,3],"flag":true}}' % (self.answers, TEXT))

    def take(self, text: bytes) -> None:
        """Count the answer."""
        if self.stopped:
            return
        if b'"id":%d,' % self.answers not in text or TEXT not in text:
            raise RuntimeError(f"not what was sent: {text.decode()}")
        self.answers += 1
        self.say()


class Talk:
    """What is said in a room, counted where it is heard."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.said = 0
        self.heard = 0
        self.on_all_heard: Callable[[], None] = lambda: None
        self.stopped = False

    def hear(self) -> None:
        """Count."""
        self.heard += 1
        if self.heard == self.said * self.size:
            self.on_all_heard()


class Listening(Client):
    """One of those who hear a room; some of them also talk."""

    def __init__(self, talk: Talk, number: int) -> None:
        super().__init__()
        self._talk = talk
        self._mark = b"%d says: %b" % (number, TEXT)
        self._own = b'"' + self._mark
        self._insists = False

    def say(self) -> None:
        """Say something to all."""
        if not self._talk.stopped:
            self._talk.said += 1
            message = b'{"type":"chat.send","id":%d,"data":{"room":"%b","text":"%b"}}'
            self.send(message % (self._talk.said, ROOM.encode(), self._mark))

    def keep_talking(self) -> None:
        """Say something, and again whenever that has been heard here."""
        self._insists = True
        self.say()

    def take(self, text: bytes) -> None:
        """Count what was said. A reply, which has it as well, is not a delivery."""
        if TEXT in text and not text.startswith(b'{"type":"reply"'):
            self._talk.hear()
            if self._insists and self._own in text:
                self.say()


AnyClient = TypeVar("AnyClient", bound=Client)


@dataclass(frozen=True)
class Visit:
    """A server that runs, as the load sees it."""

    subject: Subject
    pid: int
    address: str
    people: int
    """How many different people the connections are of, where there are tokens."""

    async def open(self, clients: Sequence[AnyClient], path: str) -> Sequence[AnyClient]:
        """Connect all of them, some at a time: up to the welcome, and for a room into it."""
        for start in range(0, len(clients), OPENING):
            numbers = range(start, min(start + OPENING, len(clients)))
            await asyncio.gather(*(self._open(clients[number], path, number) for number in numbers))
        return clients

    async def _open(self, client: Client, path: str, number: int) -> None:
        if not isinstance(self.subject, Gateway):
            await ws_connect(lambda: client, self.address + path)
            return
        welcomed = asyncio.ensure_future(client.wait_for(b'{"type":"welcome"'))
        await asyncio.sleep(0)
        token = self.subject.people[number % self.people].token
        await ws_connect(lambda: client, f"{self.address}/ws/chat?token={token}")
        await welcomed
        if path == "/room":
            client.send(b'{"type":"room.join","id":1,"data":{"room":"%b"}}' % ROOM.encode())
            await client.wait_for(b'{"type":"reply","id":1,"status":20000')


Figures = dict[str, float]


async def echo(visit: Visit, sizes: Sizes) -> Figures:
    """Measure round trips."""
    clients = await visit.open([Echoing() for _ in range(sizes.echoing)], "/echo")
    for client in clients:
        client.listen()
        client.say()
    await asyncio.sleep(sizes.seconds / 3)
    before, cpu = sum(client.answers for client in clients), cpu_seconds(visit.pid)
    await asyncio.sleep(sizes.seconds)
    used, answers = cpu_seconds(visit.pid) - cpu, sum(client.answers for client in clients) - before
    for client in clients:
        client.stopped = True
    if min(client.answers for client in clients) == 0:
        raise RuntimeError(f"{visit.subject.name} has not answered everybody")
    return {"µs a round trip": 1e6 * used / answers}


async def delivery(visit: Visit, sizes: Sizes) -> Figures:
    """Measure what goes to everyone in a room, one message at a time and by ten at once."""
    one = Talk(sizes.listening)
    clients = await visit.open([Listening(one, number) for number in range(sizes.listening)], "/room")
    await asyncio.sleep(0.5)  # for what the gateway tells of those who have come
    for client in clients:
        client.listen()
    one.on_all_heard = clients[0].say
    clients[0].say()
    alone, _ = await _overhear(visit, one, sizes.seconds)
    await _all_heard(one)
    one.stopped, one.on_all_heard = False, lambda: None
    for client in clients[:10]:
        client.keep_talking()
    together, per_second = await _overhear(visit, one, sizes.seconds)
    await _all_heard(one)
    return {
        "µs a delivery, one message at a time": alone,
        "µs a delivery, ten senders": together,
        "deliveries a second, ten senders": per_second,
    }


async def _overhear(visit: Visit, talk: Talk, seconds: float) -> tuple[float, float]:
    """Give the CPU of a delivery in microseconds, and deliveries in a second."""
    await asyncio.sleep(seconds / 3)
    heard, cpu, began = talk.heard, cpu_seconds(visit.pid), time.perf_counter()
    await asyncio.sleep(seconds)
    heard, cpu, took = talk.heard - heard, cpu_seconds(visit.pid) - cpu, time.perf_counter() - began
    if not heard:
        raise RuntimeError(f"nobody hears anything from {visit.subject.name}")
    return 1e6 * cpu / heard, heard / took


async def _all_heard(talk: Talk) -> None:
    """Stop, and see that what was said has been heard by all, once."""
    talk.stopped = True
    if talk.heard < talk.said * talk.size:
        done = asyncio.Event()
        talk.on_all_heard = done.set
        async with asyncio.timeout(VISIT_SECONDS / 2):
            await done.wait()
    if talk.heard != talk.said * talk.size:
        raise RuntimeError("more was heard than was said")


async def connection(visit: Visit, sizes: Sizes) -> Figures:
    """Measure connections, up to and with the welcome; they stay open."""
    warm = min(WARM_CONNECTIONS, sizes.connecting)
    first = await visit.open([Client() for _ in range(warm)], "/echo")
    cpu = cpu_seconds(visit.pid)
    rest = await visit.open([Client() for _ in range(sizes.connecting)], "/echo")
    used = cpu_seconds(visit.pid) - cpu
    assert len(first) + len(rest) == warm + sizes.connecting  # noqa: S101 - held until here, so all are open
    return {"µs a connection": 1e6 * used / sizes.connecting}


async def idle(visit: Visit, sizes: Sizes) -> Figures:
    """Measure what a connection in a room holds while nothing happens."""
    warm = await visit.open([Client() for _ in range(WARM_CONNECTIONS)], "/room")
    await asyncio.sleep(1)
    before = memory_kb(visit.pid)
    rest = await visit.open([Client() for _ in range(sizes.idle)], "/room")
    await asyncio.sleep(2)
    held = memory_kb(visit.pid) - before
    assert len(warm) + len(rest) == WARM_CONNECTIONS + sizes.idle  # noqa: S101 - held until here, so all are open
    return {"KB of RSS an idle connection": held / sizes.idle}


MEASURES = {Topic.ECHO: echo, Topic.DELIVERY: delivery, Topic.CONNECTION: connection, Topic.IDLE: idle}


@dataclass(frozen=True)
class Result:
    """One line of the table: the median of each server, by its name."""

    figure: str
    medians: Figures

    @property
    def ratios(self) -> Figures:
        """How many times the peer's figure the gateway's is; none where a toy was too small to measure."""
        ours = self.medians[Gateway.name]
        return {name: ours / value for name, value in self.medians.items() if name != Gateway.name and value}


async def measure(topics: Iterable[Topic], sizes: Sizes, report: Callable[[str], None]) -> list[Result]:
    """Measure every topic on every server, a few times over."""
    crowd = max(WARM_CONNECTIONS, sizes.echoing, sizes.listening, sizes.connecting)
    people = [Person(f"person-{number}") for number in range(crowd)]
    node, _ = node_peer()
    results = []
    with temporary_folder() as folder, store_url(StoreKind.SQLITE, folder) as url:
        database = database_for(url)
        try:
            await populate(database, people, {ROOM: people})
        finally:
            await database.close()
        for topic in topics:
            subjects: list[Subject] = [Gateway(url, people), TUTORIAL]
            if topic is Topic.ECHO:
                subjects.insert(1, BARE)
            if node is not None:
                subjects.append(node)
            taken: dict[str, dict[str, list[float]]] = {}
            for turn in range(sizes.rounds):
                for subject in subjects:
                    report(f"{topic}, round {turn + 1} of {sizes.rounds}: {subject.name}")
                    for figure, value in (await _visit(subject, topic, sizes, folder)).items():
                        taken.setdefault(figure, {}).setdefault(subject.name, []).append(value)
            results += [
                Result(figure, {name: median(values) for name, values in by_name.items()})
                for figure, by_name in taken.items()
            ]
    return results


async def _visit(subject: Subject, topic: Topic, sizes: Sizes, folder: Path) -> Figures:
    async with asyncio.timeout(VISIT_SECONDS), subject.running(folder) as (pid, address):
        # Each person who comes into a room is told to everybody in it; of an idle crowd that would be the whole time.
        people = WARM_CONNECTIONS if topic is Topic.IDLE else MANY
        return await MEASURES[topic](Visit(subject, pid, address, people), sizes)


def machine() -> str:
    """Describe this machine in a line."""
    return (
        f"{os.cpu_count()} cores shared with the load, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}"
    )


def table_of(results: Sequence[Result], notes: str) -> Table:
    """Lay the results out."""
    table = Table(title="The transport", caption=notes)
    peers = list(dict.fromkeys(name for result in results for name in result.ratios))
    table.add_column("figure")
    for heading in ("gateway", *(heading for name in peers for heading in (name, "ratio"))):
        table.add_column(heading, justify="right")
    for result in results:
        cells = [result.figure, _shown(result.medians[Gateway.name])]
        for name in peers:
            if name in result.ratios:
                cells += [_shown(result.medians[name]), f"{result.ratios[name]:.2f}×"]
            else:
                cells += ["", ""]
        table.add_row(*cells)
    return table


def _shown(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 5 else f"{value:.2f}"


FULL = Sizes(echoing=50, listening=1000, connecting=2000, idle=5000, seconds=2, rounds=3)
QUICK = Sizes(echoing=10, listening=50, connecting=50, idle=50, seconds=0.3, rounds=1)


def main(
    only: Annotated[list[Topic] | None, typer.Option(help="Which figures; all, if left out.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="At the size of a toy, to see that it works.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, max=30, help="How long a measurement takes.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=25, help="How many rounds to take the median of.")] = None,
    listening: Annotated[int | None, typer.Option(min=10, max=10_000, help="How many hear the room.")] = None,
    connecting: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many connections to open.")] = None,
    idle: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many idle connections.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures, too.")] = None,
) -> None:
    """Measure what a message, a delivery and a connection cost the gateway, and others."""
    base = QUICK if quick else FULL
    wanted = Sizes(
        echoing=base.echoing,
        listening=listening or base.listening,
        connecting=connecting or base.connecting,
        idle=idle or base.idle,
        seconds=seconds or base.seconds,
        rounds=rounds or base.rounds,
    )
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    sizes = wanted.within(limit)
    notes = [
        machine(),
        f"{sizes.echoing:,} echo, {sizes.listening:,} hear a room, {sizes.connecting:,} connect, {sizes.idle:,} idle",
        node_peer()[1],
    ]
    if sizes != wanted:
        notes.append(f"fewer than asked for: the limit of open files is {limit:,}")
    results = uvloop.run(measure(only or list(Topic), sizes, lambda line: print(line, file=sys.stderr)))
    Console(highlight=False, width=WIDTH).print(table_of(results, "\n".join(notes)))
    if json_file is not None:
        lines = [asdict(result) | {"ratios": result.ratios} for result in results]
        figures = {"machine": notes[0], "notes": notes[1:], "sizes": asdict(sizes), "results": lines}
        json_file.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
