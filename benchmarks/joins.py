"""Measures the ways into rooms and back, and the messages that read: `python -m benchmarks.joins`.

One gateway serves all steps, on a store that holds the rooms, their members and their messages beforehand. Each figure
is the CPU of the server's process in all of its threads, up to the moment when the server is at rest. So it includes
what a join causes besides its reply, for example the presence that others are told. The load shares the machine.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import httpx2
import typer
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, insert, update

from benchmarks.dialects import OPENING
from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import (
    Asker,
    Frame,
    Person,
    Server,
    StoreKind,
    connect,
    cpu_seconds,
    database_for,
    populate,
    store_url,
    temporary_folder,
    wait_for_rest,
)
from gateway.store.tables import messages, rooms

REST_SECONDS = 0.3
"""Seconds without work after which a server is at rest."""

RETRY_SECONDS = 1

LIMIT_SECONDS = 600

QUIET, TALKED, OPEN = "quiet", "talked", "open"
"""A room without messages, a room with some, and a room that newcomers may enter."""

TALKED_ID = 1
"""The number of the first room that is made."""

BEHIND = 10
"""Events that a resume has missed."""


@dataclass(frozen=True)
class Sizes:
    """The amounts of load."""

    people: int
    """Members of each room; all of them come back in the storm."""
    newcomers: int
    returning: int
    """Rooms to which each member returns in the storm."""
    rooms: int
    """Rooms of the member that has the most."""
    messages: int
    """Messages of the room that has some."""
    asked: int
    """How often one connection asks for the same."""


@dataclass(frozen=True)
class Figure:
    """The cost of one step, and how long it took the load."""

    microseconds: float
    """CPU of the server for each."""
    seconds: float
    """From the first request to the last answer."""
    count: int
    refused: int
    """Connections and joins that the server could not serve for now, and that were tried again later."""

    @property
    def per_second(self) -> float:
        """Return how many were answered a second."""
        return self.count / self.seconds


Figures = dict[str, Figure]


class Rooms:
    """The server, the members with their connections, and what has been measured."""

    def __init__(self, server: Server, pid: int, people: Sequence[Person], newcomers: Sequence[Person]) -> None:
        self._server = server
        self._pid = pid
        self._people = people
        self._newcomers = newcomers
        self._here: list[Asker] = []
        self._refused = 0
        self.figures: Figures = {}

    async def connect(self) -> None:
        """Connect all members."""
        self._here = await self._measure("connect, to the welcome", self._people, self._connect)

    async def join(self, sizes: Sizes) -> None:
        """Join rooms that are heard, resume in one, and join rooms that no client hears."""
        await _joined(self._here[0], QUIET)
        await _joined(self._here[0], TALKED)
        others = self._here[1:]
        await self._measure("join of a heard room", others, lambda one: _joined(one, QUIET))
        history = f"the same with {min(sizes.messages, 50)} messages"
        replies = await self._measure(history, others, lambda one: _joined(one, TALKED))
        since = {"epoch": replies[0]["epoch"], "offset": max(0, replies[0]["offset"] - BEHIND)}
        behind = f"resume, {min(sizes.messages, BEHIND)} behind"
        await self._measure(behind, others, lambda one: _joined(one, TALKED, since=since))
        cold = list(enumerate(self._here))
        await self._measure("cold join", cold, lambda one: _joined(one[1], f"cold-{one[0]}"))

    async def resume(self, sizes: Sizes) -> None:
        """Come back into many rooms with one message: first into rooms that no client hears, then into heard ones."""
        names = _many(sizes)
        for step in (f"back in {len(names)} rooms with one message, cold", "the same, all heard"):
            one = await self._connect(self._people[0])
            await self._rest()
            await self._measure(step, [one], lambda one: _resumed(one, names))
            self._here.append(one)

    async def first_join(self) -> None:
        """Let newcomers enter a room, all at once."""
        here = [await self._connect(person) for person in self._newcomers]
        await self._rest()
        await self._measure("first join, all at once", here, lambda one: _joined(one, OPEN), at_once=len(here))
        await self._end(here)

    async def read(self, sizes: Sizes) -> None:
        """Ask for the same again and again, on one connection."""
        one, user = self._here[0], self._people[0]
        times = range(sizes.asked)
        asks: dict[str, Callable[[int], Awaitable[Frame]]] = {
            "ping": lambda _: one.ask("ping"),
            "chat.history of 50": lambda _: one.ask("chat.history", room=TALKED, limit=50),
            "room.list of 20": lambda _: one.ask("room.list", limit=20),
            "room.members of 10": lambda _: one.ask("room.members", room=TALKED, limit=10),
            "chat.read": lambda number: one.ask("chat.read", room=TALKED, offset=1 + number % sizes.messages),
            "chat.typing": lambda _: one.ask("chat.typing", room=TALKED),
            "presence.get of 10": lambda _: one.ask("presence.get", users=[each.name for each in self._people[:10]]),
        }
        for name, ask in asks.items():
            _check(await ask(0), name)
            await self._measure(name, times, ask, at_once=1)
        url, headers = f"http://127.0.0.1:{self._server.port}/users/me", {"Authorization": f"Bearer {user.token}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            await self._measure("GET /users/me", times, lambda _: http.get(url), at_once=1)

    async def storm(self, sizes: Sizes) -> None:
        """Cut all members at once, and let all come back at once, each into some rooms."""
        names = [f"back-{number}" for number in range(sizes.returning)]
        at = {name: await _joined(self._here[0], name) for name in names}

        since = {name: {"epoch": at[name]["epoch"], "offset": at[name]["offset"]} for name in names}

        async def come_back(person: Person) -> Asker:
            one = await self._connected_at_last(person)
            await asyncio.gather(*(self._joined_at_last(one, name, since[name]) for name in names))
            return one

        async def come_back_with_one_message(person: Person) -> Asker:
            one = await self._connected_at_last(person)
            await self._resumed_at_last(one, [{"room": name, "since": since[name]} for name in names])
            return one

        storm = f"storm: back in {sizes.returning} rooms each"
        for step, come in ((storm, come_back), (f"{storm}, with one message", come_back_with_one_message)):
            await self._end(self._here)
            self._here = await self._measure(step, self._people, come, at_once=len(self._people))
        await self._end(self._here)

    async def _connected_at_last(self, person: Person) -> Asker:
        """Connect, and try again a second after each refusal."""
        while True:
            try:
                return await self._connect(person)
            except OSError:
                self._refused += 1
                await asyncio.sleep(RETRY_SECONDS)

    async def _joined_at_last(self, one: Asker, room: str, since: Frame) -> None:
        """Join a room, and try again as long as the server asks for that."""
        while (reply := await one.ask("room.join", room=room, since=since)).get("retryable"):
            self._refused += 1
            await asyncio.sleep(reply.get("retry_after_ms", 0) / 1000)
        _check(reply, room)

    async def _resumed_at_last(self, one: Asker, asked: list[Frame]) -> None:
        """Resume all rooms with as few messages as possible, and try again as long as the server asks for that."""
        while asked:
            reply = await one.ask("room.resume", rooms=asked)
            while reply.get("retryable"):
                self._refused += 1
                await asyncio.sleep(reply.get("retry_after_ms", 0) / 1000)
                reply = await one.ask("room.resume", rooms=asked)
            asked = asked[len(_each_resumed(reply)) :]

    async def _connect(self, person: Person) -> Asker:
        return await connect(self._server, person)

    async def _end(self, here: Sequence[Asker]) -> None:
        await asyncio.gather(*(one.close() for one in here))
        await self._rest()

    async def _measure(
        self, name: str, items: Sequence[Any], work: Callable[[Any], Awaitable[Any]], *, at_once: int = OPENING
    ) -> list[Any]:
        """Do the work for all items, some at a time, and note what it took the server."""
        done: list[Any] = []
        self._refused = 0
        cpu, began = cpu_seconds(self._pid), time.perf_counter()
        for start in range(0, len(items), at_once):
            done += await asyncio.gather(*(work(item) for item in items[start : start + at_once]))
        seconds = time.perf_counter() - began
        used = await self._rest() - cpu
        self.figures[name] = Figure(1e6 * used / len(items), seconds, len(items), self._refused)
        return done

    async def _rest(self) -> float:
        return await wait_for_rest(self._pid, REST_SECONDS)


async def _joined(one: Asker, room: str, **options: Any) -> Frame:
    return _check(await one.ask("room.join", room=room, **options), room)


async def _resumed(one: Asker, names: Sequence[str]) -> None:
    reply = await one.ask("room.resume", rooms=[{"room": name} for name in names])
    if len(_each_resumed(reply)) < len(names):
        raise RuntimeError("expected all rooms in one reply")


def _each_resumed(reply: Frame) -> list[Frame]:
    found: list[Frame] = _check(reply, "room.resume")["rooms"]
    if refused := [each for each in found if "error" in each]:
        raise RuntimeError(f"room.resume: expected no error, got {refused[0]}")
    return found


def _many(sizes: Sizes) -> list[str]:
    return [f"many-{number}" for number in range(sizes.rooms)]


def _check(reply: Frame, what: str) -> Frame:
    if reply["type"] != "reply":
        raise RuntimeError(f"{what}: expected a reply, got {reply}")
    data: Frame = reply["data"]
    return data


@asynccontextmanager
async def _prepared(kind: StoreKind, sizes: Sizes) -> AsyncIterator[Rooms]:
    people = [Person(f"person-{number}") for number in range(sizes.people)]
    newcomers = [Person(f"newcomer-{number}") for number in range(sizes.newcomers)]
    members: dict[str, Sequence[Person]] = {TALKED: people, QUIET: people, OPEN: people[:1]}
    members |= {f"back-{number}": people for number in range(sizes.returning)}
    members |= dict.fromkeys(_many(sizes), people[:1])
    members |= {f"cold-{number}": [person] for number, person in enumerate(people)}
    with temporary_folder() as folder, store_url(kind, folder) as url:
        database = database_for(url)
        try:
            await populate(database, [*people, *newcomers], members)
            await database.transact(lambda connection: _talk(connection, people[0], sizes.messages))
        finally:
            await database.close()
        server = Server(folder, url)
        async with server.running() as pid:
            yield Rooms(server, pid, people, newcomers)


def _talk(connection: Connection, sender: Person, count: int) -> None:
    said = {
        "room_id": TALKED_ID,
        "sender_id": sender.id,
        "sent_at": 0,
        "text": "The quick brown fox jumps over the lazy dog.",
    }
    connection.execute(
        insert(messages), [said | {"offset": number, "changed": number} for number in range(1, count + 1)]
    )
    connection.execute(update(rooms).where(rooms.c.id == TALKED_ID).values(offset=count))


async def measure(kind: StoreKind, sizes: Sizes) -> Figures:
    """Measure all steps on one store."""
    async with asyncio.timeout(LIMIT_SECONDS), _prepared(kind, sizes) as visit:
        await visit.connect()
        await visit.join(sizes)
        await visit.resume(sizes)
        await visit.read(sizes)
        await visit.first_join()
        await visit.storm(sizes)
        return visit.figures


def table_of(kind: StoreKind, sizes: Sizes, figures: Figures) -> Table:
    """Build the table of the figures."""
    table = Table(title=f"Into rooms and back, {kind}, {sizes.people:,} members", caption=machine())
    table.add_column("step")
    for column in ("count", "µs of CPU each", "s in all", "a second", "refused"):
        table.add_column(column, justify="right")
    for name, each in figures.items():
        cells = (f"{each.count:,}", f"{each.microseconds:,.0f}", f"{each.seconds:.2f}", f"{each.per_second:,.0f}")
        table.add_row(name, *cells, f"{each.refused:,}")
    return table


def main(
    store: Annotated[list[StoreKind] | None, typer.Option(help="Which stores; both, if left out.")] = None,
    people: Annotated[int, typer.Option(min=2, max=10_000, help="Members; all of them come back in the storm.")] = 1000,
    newcomers: Annotated[
        int, typer.Option(min=1, max=10_000, help="Users that enter a room for the first time.")
    ] = 500,
    returning: Annotated[int, typer.Option(min=1, max=100, help="Rooms of each member in the storm.")] = 5,
    many: Annotated[int, typer.Option(min=1, max=128, help="Rooms of the member that has the most.")] = 128,
    messages: Annotated[int, typer.Option(min=1, max=10_000, help="Messages of the room that has some.")] = 60,
    asked: Annotated[int, typer.Option(min=1, help="How often one connection asks for the same.")] = 300,
    json_file: JsonFile = None,
) -> None:
    """Measure joins, resumes, first joins, messages that read, and a reconnect storm."""
    sizes = Sizes(people, newcomers, returning, many, messages, asked)
    measured = {}
    for kind in store or list(StoreKind):
        measured[kind] = uvloop.run(measure(kind, sizes))
        Console(highlight=False).print(table_of(kind, sizes, measured[kind]))
    if json_file is not None:
        figures = {kind: {name: asdict(each) for name, each in found.items()} for kind, found in measured.items()}
        write_figures(json_file, {"machine": machine(), "sizes": asdict(sizes), "stores": figures})


if __name__ == "__main__":
    typer.run(main)
