"""Measures a reconnect storm, and those in rooms already beside it: `python -m benchmarks.storm`.

Some clients are in rooms of two. They ask by the clock: a ping, or a message to their room. At first nothing else
happens. Then all others connect at once and join their rooms, and at last their connections break at once. A time runs
from the sending of a message until its answer arrives.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.client import Client
from benchmarks.pace import Pace, percentile, woken_first
from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.returning import Returning, Storm
from benchmarks.rig import (
    Person,
    Server,
    StoreKind,
    database_for,
    memory_kb,
    populate,
    store_url,
    temporary_folder,
    wait_for_rest,
)
from benchmarks.talk import TEXT

ANSWER_SECONDS = 60
REST_SECONDS = 0.3
ASKED_PER_SECOND = 400
SAID_EVERY = 8
"""Of so many questions, one is a message to a room."""
PAIRS = 10
FOREVER = 3600.0

UNLOADED, COMING, VANISHING = "unloaded", "beside the storm", "while they vanish"
PING, SEND = "ping", "chat.send"

Times = dict[str, list[float]]
"""Seconds until the answers, by the kind of question."""


@dataclass(frozen=True)
class Sizes:
    """The amounts of load."""

    people: int
    """Clients that come back."""
    rooms: int
    """Rooms that each of them joins."""
    seconds: float
    """How long to ask without a storm."""
    rounds: int
    """Storms, one after the other."""
    one_by_one: bool
    """Whether the clients join each room with a message of its own."""


@dataclass
class Measured:
    """The figures of one store."""

    echo: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """p50, p99 and the worst in ms, by the moment and the kind of question."""
    late: dict[str, float] = field(default_factory=dict)
    """p99 of the ms by which questions went out late: this machine may be the cause, and not the server."""
    storms: list[Storm] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """CPU seconds of the server for each storm."""
    megabytes: list[float] = field(default_factory=list)
    """Memory of the server after each storm."""


class Asking(Client):
    """A client in a room of two that asks, and notes the seconds until each answer."""

    def __init__(self, url: str, room: str) -> None:
        super().__init__()
        self._url = url
        self._room = room.encode()
        self._asked: deque[tuple[str, float]] = deque()
        self.taken: Times = {PING: [], SEND: []}

    async def come(self) -> None:
        """Connect and join the room."""
        welcomed = asyncio.ensure_future(self.wait_for(b'{"type":"welcome"'))
        await asyncio.sleep(0)
        await self.connect(self._url)
        await welcomed
        self.send(b'{"type":"room.join","id":1,"data":{"room":"%b"}}' % self._room)
        await self.wait_for(b'{"type":"reply","id":1,"status":20000')
        self.listen()

    @property
    def answered(self) -> bool:
        """Return whether all questions have an answer."""
        return not self._asked

    def ask(self, number: int) -> None:
        """Send a question."""
        kind = PING if number % SAID_EVERY else SEND
        self._asked.append((kind, time.perf_counter()))
        data = b'{"room":"%b","text":"%b"}' % (self._room, TEXT) if kind == SEND else b"{}"
        self.send(b'{"type":"%b","id":%d,"data":%b}' % (kind.encode(), number, data))

    def take(self, text: bytes) -> None:
        """Take an answer; they come in the order of the questions."""
        if text.startswith(b'{"type":"reply"'):
            kind, asked_at = self._asked.popleft()
            self.taken[kind].append(time.perf_counter() - asked_at)
        elif text.startswith(b'{"type":"error"'):
            raise RuntimeError(f"expected a reply, got {text.decode()}")


class Rooms:
    """The server, the clients in their rooms, and those that come and vanish."""

    def __init__(self, pid: int, asking: Sequence[Asking], returning: Returning, sizes: Sizes) -> None:
        self._pid = pid
        self._asking = asking
        self._returning = returning
        self._sizes = sizes
        self._taken: dict[str, Times] = {}
        self._late: dict[str, list[float]] = {}
        self._measured = Measured()

    async def measure(self) -> Measured:
        """Ask without a load, and then beside one storm after the other."""
        async with self._asked(""):
            await asyncio.sleep(1)  # to warm up
        async with self._asked(UNLOADED):
            await asyncio.sleep(self._sizes.seconds)
        for _ in range(self._sizes.rounds):
            await self._storm()
        for moment, times in self._taken.items():
            if moment:
                self._measured.echo[moment] = {kind: _figures(each) for kind, each in times.items() if each}
                self._measured.late[moment] = 1000 * percentile(self._late[moment], 99)
        return self._measured

    async def _storm(self) -> None:
        cpu = await wait_for_rest(self._pid, REST_SECONDS)
        async with self._asked(COMING):
            self._measured.storms.append(await self._returning.come())
        self._measured.cpu.append(await wait_for_rest(self._pid, REST_SECONDS) - cpu)
        self._measured.megabytes.append(memory_kb(self._pid) / 1024)
        async with self._asked(VANISHING):
            await self._returning.vanish()

    @asynccontextmanager
    async def _asked(self, moment: str) -> AsyncIterator[None]:
        """Ask by the clock as long as this context lasts."""
        for one in self._asking:
            one.taken = self._taken.setdefault(moment, {PING: [], SEND: []})
        pace = Pace(ASKED_PER_SECOND, lambda number: self._asking[number % len(self._asking)].ask(number))
        asking = asyncio.create_task(pace.run(FOREVER))
        with woken_first():
            try:
                yield
            finally:
                asking.cancel()
                await asyncio.wait([asking])
            async with asyncio.timeout(ANSWER_SECONDS):
                while not all(one.answered for one in self._asking):  # noqa: ASYNC110 - there are many clients
                    await asyncio.sleep(0.01)
        if not asking.cancelled():
            asking.result()
        self._late.setdefault(moment, []).extend(pace.late)


def _figures(seconds: list[float]) -> list[float]:
    return [1000 * each for each in (percentile(seconds, 50), percentile(seconds, 99), max(seconds))]


async def measure(kind: StoreKind, sizes: Sizes) -> Measured:
    """Measure all storms on one store."""
    people = [Person(f"person-{number}") for number in range(sizes.people)]
    paired = [Person(f"paired-{number}") for number in range(2 * PAIRS)]
    rooms = [f"back-{number}" for number in range(sizes.rooms)]
    pairs = {f"pair-{number}": paired[2 * number : 2 * number + 2] for number in range(PAIRS)}
    with temporary_folder() as folder, store_url(kind, folder) as url:
        database = database_for(url)
        try:
            await populate(database, [*people, *paired], dict.fromkeys(rooms, people) | pairs)
        finally:
            await database.close()
        server = Server(folder, url)
        asking = [Asking(server.url(person.token), room) for room, two in pairs.items() for person in two]
        async with server.running() as pid:
            for one in asking:
                await one.come()
            tokens = [person.token for person in people]
            async with Returning(server.port, tokens, rooms, one_by_one=sizes.one_by_one) as returning:
                return await Rooms(pid, asking, returning, sizes).measure()


def table_of(kind: StoreKind, sizes: Sizes, measured: Measured) -> Table:
    """Build the table of the figures."""
    by = "a message for each" if sizes.one_by_one else "one message for all"
    title = f"{sizes.rounds} storms of {sizes.people:,} clients into {sizes.rooms} rooms each by {by}, {kind}"
    table = Table(title=title, caption=machine())
    table.add_column("what")
    for column in ("p50", "p99", "most"):
        table.add_column(column, justify="right")
    for moment, kinds in measured.echo.items():
        for name, figures in kinds.items():
            table.add_row(f"{name}, {moment}, ms", *(f"{each:.2f}" for each in figures))
        table.add_row(f"questions late, {moment}, ms", "", f"{measured.late[moment]:.2f}", "")
    _add_range(table, "until all are back, s", [storm.seconds for storm in measured.storms])
    _add_range(table, "until half are back, s", [storm.p50 for storm in measured.storms])
    _add_range(table, "CPU of the server, s", measured.cpu)
    _add_range(table, "memory of the server, MB", measured.megabytes)
    refusals: Counter[str] = Counter()
    for storm in measured.storms:
        refusals.update(storm.refusals)
    for name, count in refusals.items():
        table.add_row(f"refused with {name}", "", "", f"{count:,}")
    return table


def _add_range(table: Table, what: str, values: list[float]) -> None:
    table.add_row(what, f"{percentile(values, 50):.2f}", "", f"{max(values):.2f}")


def main(
    store: Annotated[list[StoreKind] | None, typer.Option(help="Which stores; both, if left out.")] = None,
    people: Annotated[int, typer.Option(min=1, max=20_000, help="Clients that come back at once.")] = 1000,
    rooms: Annotated[int, typer.Option(min=0, max=100, help="Rooms that each of them joins.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to ask without a storm.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Storms, one after the other.")] = 3,
    one_by_one: Annotated[bool, typer.Option(help="Join each room with a message of its own.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure reconnect storms, and the answers to those that are there already."""
    sizes = Sizes(people, rooms, seconds, rounds, one_by_one)
    found = {}
    for kind in store or list(StoreKind):
        found[kind] = uvloop.run(measure(kind, sizes))
        Console(highlight=False).print(table_of(kind, sizes, found[kind]))
    if json_file is not None:
        stores = {kind: asdict(each) for kind, each in found.items()}
        write_figures(json_file, {"machine": machine(), "sizes": asdict(sizes), "stores": stores})


if __name__ == "__main__":
    typer.run(main)
