"""Measures the transport next to other servers, and under load: `python -m benchmarks.transport`.

Each server is its own process. This process is the load, the same for all servers. For a round trip, a delivery and a
connection, all servers run, and the benchmark measures them in short turns. So a slow moment of the machine affects
all of them. For all other figures, it starts one server after the other in each round. A figure is the median of the
rounds. CPU is that of the server's process, in all of its threads.

The gateway does more than its peers. It has checked a token, validates each message, answers it by its id, and stores
the messages of a room durably. A peer sends on what it got. Only those with small rooms check the token too.
"""

import asyncio
import resource
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from benchmarks import costs, small_rooms
from benchmarks.costs import Alternating
from benchmarks.dialects import ROOM_NAME
from benchmarks.peers.processes import BARE, TUTORIAL, CentrifugoBinary, peers, room_peers
from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.results import Result, medians, table_of
from benchmarks.rig import Person, StoreKind, database_for, person_with_password, populate, store_url, temporary_folder
from benchmarks.slow_reader import slow_reader
from benchmarks.under_load import ASKING, LogIn, under_load
from benchmarks.visit import VISIT_SECONDS, WARM_CONNECTIONS, Figures, Gateway, Sizes, Subject, Visit
from gateway.config.settings import Settings

WIDTH = 110
"""The width of the table, also in a file."""


class Topic(StrEnum):
    """A group of figures with one measurement."""

    ECHO = "echo"
    DELIVERY = "delivery"
    SMALL_ROOMS = "small-rooms"
    CONNECTION = "connection"
    IDLE = "idle"
    LOAD = "load"
    SLOW_READER = "slow-reader"


ALTERNATING: dict[Topic, Callable[[Visit, Sizes], Alternating]] = {
    Topic.ECHO: costs.Echoes,
    Topic.DELIVERY: costs.Deliveries,
    Topic.SMALL_ROOMS: small_rooms.SmallRooms,
    Topic.CONNECTION: costs.Connections,
}
"""The topics that alternate between all servers."""


class Bench:
    """The users, their store, and the measured servers."""

    def __init__(
        self,
        url: str,
        folder: Path,
        people: Sequence[Person],
        log_in: LogIn,
        sizes: Sizes,
        centrifugo: CentrifugoBinary,
    ) -> None:
        self._url = url
        self._folder = folder
        self._people = people
        self._sizes = sizes
        self._visits: dict[Topic, Callable[[Visit, Sizes], Awaitable[Figures]]] = {
            Topic.IDLE: costs.idle,
            Topic.LOAD: partial(under_load, log_in=log_in),
            Topic.SLOW_READER: slow_reader,
        }
        self._peers, _ = peers()
        self._room_peers, _ = room_peers([person.token for person in people], centrifugo)

    async def visit(self, topic: Topic, subject: Subject) -> Figures:
        """Measure a topic on a server."""
        limit = VISIT_SECONDS + 8 * self._sizes.lasting
        async with asyncio.timeout(limit), subject.running(self._folder) as (pid, dialect):
            return await self._visits[topic](Visit(subject.name, pid, dialect, self._folder), self._sizes)

    async def rounds(self, topic: Topic, report: Callable[[str], None]) -> list[Figures]:
        """Measure a topic on all servers, a few times over."""
        alternating = ALTERNATING.get(topic)
        if alternating is not None:
            return await self._in_turn(topic, alternating, report)
        visits = []
        for turn in range(self._sizes.rounds):
            for subject in self.subjects(topic):
                report(f"{topic}, round {turn + 1} of {self._sizes.rounds}: {subject.name}")
                visits.append(await self.visit(topic, subject))
        return visits

    async def _in_turn(
        self, topic: Topic, alternating: Callable[[Visit, Sizes], Alternating], report: Callable[[str], None]
    ) -> list[Figures]:
        sizes, subjects = self._sizes, self.subjects(topic)
        figures, measured = [], []
        limit = len(subjects) * (VISIT_SECONDS + 4 * sizes.seconds * sizes.rounds)
        async with asyncio.timeout(limit), AsyncExitStack() as stack:
            for subject in subjects:
                report(f"{topic}: {subject.name} starts")
                folder = stack.enter_context(temporary_folder())
                pid, dialect = await stack.enter_async_context(subject.running(folder))
                measured.append(alternating(Visit(subject.name, pid, dialect, folder), sizes))
                await measured[-1].open()
            for turn in range(sizes.rounds):
                report(f"{topic}, round {turn + 1} of {sizes.rounds}: all in turn")
                each = sizes.seconds / costs.TURNS
                turns = [[await server.turn(each) for server in measured] for _ in range(costs.TURNS)]
                for subject, tallies in zip(subjects, zip(*turns, strict=True), strict=True):
                    figures.append(costs.figures_of(subject.name, tallies))
        return figures

    def subjects(self, topic: Topic) -> list[Subject]:
        """Return the servers of a topic."""
        # All members of a room learn of each new one. With an idle crowd, that would take the whole time.
        people = self._people[:WARM_CONNECTIONS] if topic is Topic.IDLE else self._people
        # The log says when the gateway closes the slow reader.
        log_level = "info" if topic is Topic.SLOW_READER else "warning"
        gateway = Gateway(self._url, people, self._sizes.password_rounds, log_level)
        match topic:
            case Topic.ECHO:
                return [gateway, *self._peers]
            case Topic.DELIVERY | Topic.CONNECTION:
                return [gateway, *(peer for peer in self._peers if peer is not BARE)]
            case Topic.SMALL_ROOMS:
                return [gateway, *self._room_peers]
            case Topic.IDLE:
                return [gateway, *(peer for peer in self._peers if peer is TUTORIAL or peer.name == "Node ws")]
            case Topic.LOAD | Topic.SLOW_READER:
                return [gateway]


async def measure(
    topics: Iterable[Topic], sizes: Sizes, centrifugo: CentrifugoBinary, report: Callable[[str], None]
) -> list[Result]:
    """Measure every topic on every server, a few times over."""
    in_rooms = max(small_rooms.MEMBERS) * sizes.small_rooms
    crowd = max(WARM_CONNECTIONS, ASKING, sizes.echoing, sizes.listening, sizes.connecting, in_rooms)
    people = [Person(f"person-{number}") for number in range(crowd)]
    log_in = LogIn("log-in", secrets.token_urlsafe(12))
    results = []
    with temporary_folder() as folder, store_url(StoreKind.SQLITE, folder) as url:
        database = database_for(url)
        try:
            known = await person_with_password(log_in.name, log_in.password, sizes.password_rounds)
            members = {ROOM_NAME: people} | small_rooms.memberships(people, sizes.small_rooms)
            await populate(database, [*people, known], members)
        finally:
            await database.close()
        bench = Bench(url, folder, people, log_in, sizes, centrifugo)
        for topic in topics:
            results += medians(await bench.rounds(topic, report))
    return results


FULL = Sizes(
    echoing=50,
    listening=1000,
    connecting=2000,
    idle=10_000,
    small_rooms=100,
    steady=30,
    password_rounds=Settings.model_fields["password_rounds"].default,
    seconds=2,
    lasting=10,
    rounds=3,
)
QUICK = Sizes(
    echoing=10,
    listening=25,
    connecting=50,
    idle=50,
    small_rooms=3,
    steady=500,
    password_rounds=4,
    seconds=0.3,
    lasting=0.5,
    rounds=1,
)


def main(
    only: Annotated[list[Topic] | None, typer.Option(help="Which figures; all, if left out.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="At the size of a toy, to see that it works.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, max=30, help="How long to measure; for a p99, five times as long."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=25, help="How many rounds to take the median of.")] = None,
    listening: Annotated[int | None, typer.Option(min=10, max=10_000, help="How many hear the room.")] = None,
    connecting: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many connections to open.")] = None,
    idle: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many idle connections.")] = None,
    centrifugo: CentrifugoBinary = None,
    json_file: JsonFile = None,
) -> None:
    """Measure a message, a delivery and a connection, of the gateway and of others, and the gateway under load."""
    base = QUICK if quick else FULL
    wanted = replace(
        base,
        listening=listening or base.listening,
        connecting=connecting or base.connecting,
        idle=idle or base.idle,
        seconds=seconds or base.seconds,
        lasting=5 * seconds if seconds else base.lasting,
        rounds=rounds or base.rounds,
    )
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    sizes = wanted.within(limit, servers=1 + len(peers()[0]))
    notes = [
        machine(),
        f"{sizes.echoing:,} echo, {sizes.listening:,} hear a room, {sizes.connecting:,} connect, {sizes.idle:,} idle",
        f"{sizes.small_rooms:,} rooms of 2 and of 10",
        *dict.fromkeys(peers()[1] + room_peers([], centrifugo)[1]),
    ]
    if sizes != wanted:
        notes.append(f"fewer than asked for: the limit of open files is {limit:,}")
    results = uvloop.run(measure(only or list(Topic), sizes, centrifugo, lambda line: print(line, file=sys.stderr)))
    Console(highlight=False, width=WIDTH).print(table_of(results, "The transport"))
    print(*notes, sep="\n")
    if json_file is not None:
        figures = {
            "machine": notes[0],
            "notes": notes[1:],
            "sizes": asdict(sizes),
            "results": [result.as_json() for result in results],
        }
        write_figures(json_file, figures)


if __name__ == "__main__":
    typer.run(main)
