"""Measures the ways into rooms and back, and the messages that read, beside peers: `python -m benchmarks.joins`.

All servers run, and each step measures them one after the other. So a slow moment of the machine does not fall on one
of them alone. A figure is the median of the rounds. CPU is that of the server's process, in all of its threads, up to
the moment when the server is at rest. So it includes what a join causes besides its reply, for example the presence
that others are told. The load shares the machine.

The peers check the same tokens, and keep rooms with their newest messages in memory. They keep less than the gateway:
no membership, nothing durable, and no rule for what a client has missed.
"""

import asyncio
import resource
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from statistics import median
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from benchmarks.join_steps import (
    COLD_JOIN,
    COLD_PHONE_TIME,
    CONNECT,
    FIRST_JOINS,
    HISTORY_JOIN,
    JOIN,
    LIST,
    ME,
    PAGE,
    PHONE_TIME,
    REFUSED,
    RESUME,
    RESUMES,
    STEPS,
    STORM,
    GatewayRound,
    Host,
    Load,
    Round,
    Sizes,
)
from benchmarks.peers.processes import CentrifugoBinary, room_peers
from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.results import OURS, Aims, Result, table_of
from benchmarks.rig import Person, StoreKind, database_for, person_with_password, populate, store_url, temporary_folder
from benchmarks.room_dialects import Authenticated
from benchmarks.visit import SPARE_FILES, Gateway

LIMIT_SECONDS = 600
"""The most seconds for a round."""

WIDTH = 120
"""The width of the table, also in a file."""

NAMES = {StoreKind.SQLITE: OURS, StoreKind.POSTGRES: f"{OURS} on PostgreSQL"}

AIMS: Aims = {
    (CONNECT, OURS): "≤ 250",
    (JOIN, OURS): "≤ 120",
    (HISTORY_JOIN, OURS): "≤ 200",
    (RESUME, OURS): "≤ 120",
    (COLD_JOIN, OURS): "≤ 600",
    (FIRST_JOINS, OURS): "≥ 3,000",
    (PHONE_TIME, OURS): "≤ 50",
    (COLD_PHONE_TIME, OURS): "≤ 50",
    (STORM, OURS): "≤ 0.8",
    (STORM, NAMES[StoreKind.POSTGRES]): "≤ 1.2",
    (RESUMES, OURS): "≤ 0.8",
    (RESUMES, NAMES[StoreKind.POSTGRES]): "≤ 1.2",
    (REFUSED, OURS): "0",
    (PAGE, OURS): "≤ 900",
    (LIST, OURS): "≤ 1,200",
    (ME, OURS): "≤ 350",
}
"""The gateway's aims; those of a storm are for 1,000 clients in 5 rooms each."""


@asynccontextmanager
async def _gateway(kind: StoreKind, load: Load) -> AsyncIterator[Host]:
    with temporary_folder() as folder, store_url(kind, folder) as url:
        database = database_for(url)
        try:
            await populate(database, [*load.all, load.known], load.memberships())
        finally:
            await database.close()
        gateway = Gateway(url, load.all, 4, "warning", NAMES[kind])
        async with gateway.running(folder) as (pid, dialect):
            yield Host(gateway.name, pid, dialect)


async def measure(
    kinds: Sequence[StoreKind],
    sizes: Sizes,
    *,
    with_peers: bool,
    centrifugo: CentrifugoBinary,
    report: Callable[[str], None],
) -> list[Result]:
    """Measure all steps on all servers, a few times over."""
    password = secrets.token_urlsafe(12)
    people = [Person(f"person-{number}") for number in range(sizes.people)]
    newcomers = [Person(f"newcomer-{number}") for number in range(sizes.newcomers * sizes.rounds)]
    load = Load(people, newcomers, await person_with_password("known", password, 4), password, sizes)
    peers = room_peers([person.token for person in load.all], centrifugo)[0] if with_peers else []
    async with asyncio.timeout(LIMIT_SECONDS * sizes.rounds), AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(_gateway(kind, load)) for kind in kinds]
        for peer in peers:
            folder = stack.enter_context(temporary_folder())
            hosts.append(Host(peer.name, *await stack.enter_async_context(peer.running(folder))))
        for turn in range(sizes.rounds):
            rounds = [_round(host, load, turn) for host in hosts]
            for step in STEPS:
                for each in rounds:
                    report(f"round {turn + 1} of {sizes.rounds}, {each.host.name}")
                    await step(each)
    return results_of(hosts)


def _round(host: Host, load: Load, turn: int) -> Round:
    if host.name in NAMES.values() and isinstance(host.dialect, Authenticated):
        return GatewayRound(host, host.dialect, load, turn)
    return Round(host, load, turn)


def results_of(hosts: Sequence[Host]) -> list[Result]:
    """Return the medians of the rounds, by figure and server, first those of most servers."""
    figures = dict.fromkeys(figure for host in hosts for figure in host.figures)
    results = [
        Result(figure, {host.name: median(host.figures[figure]) for host in hosts if figure in host.figures})
        for figure in figures
    ]
    return sorted(results, key=lambda result: -len(result.medians))


def main(
    store: Annotated[list[StoreKind] | None, typer.Option(help="Which stores; both, if left out.")] = None,
    people: Annotated[int, typer.Option(min=2, max=10_000, help="Members; all of them come back in the storm.")] = 1000,
    newcomers: Annotated[
        int, typer.Option(min=1, max=10_000, help="Users that enter a room for the first time.")
    ] = 1000,
    returning: Annotated[int, typer.Option(min=1, max=100, help="Rooms of each member in the storm.")] = 5,
    messages: Annotated[int, typer.Option(min=1, max=100, help="Messages of the room that has some.")] = 60,
    asked: Annotated[int, typer.Option(min=1, help="How often one connection asks for the same.")] = 300,
    rounds: Annotated[int, typer.Option(min=1, max=25, help="How many rounds to take the median of.")] = 3,
    rest: Annotated[float, typer.Option(min=0.01, max=10, help="Seconds without work that are a server's rest.")] = 0.3,
    peers: Annotated[bool, typer.Option(help="Whether other servers are measured too.")] = True,
    centrifugo: CentrifugoBinary = None,
    json_file: JsonFile = None,
) -> None:
    """Measure joins, resumes, first joins, messages that read, and a reconnect storm."""
    stores = store or list(StoreKind)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    servers = len(stores) + (len(room_peers([], centrifugo)[0]) if peers else 0)
    fitting = max(2, (limit - SPARE_FILES) // servers)
    sizes = Sizes(min(people, fitting), min(newcomers, fitting), returning, messages, asked, rounds, rest)
    notes = [
        machine(),
        f"{sizes.people:,} members, {sizes.newcomers:,} newcomers, {returning} rooms each in the storm",
        *(room_peers([], centrifugo)[1] if peers else ()),
    ]
    if (sizes.people, sizes.newcomers) != (people, newcomers):
        notes.append(f"fewer than asked for: the limit of open files is {limit:,}")
    results = uvloop.run(
        measure(
            stores,
            sizes,
            with_peers=peers,
            centrifugo=centrifugo,
            report=lambda line: print(line, file=sys.stderr),
        )
    )
    Console(highlight=False, width=WIDTH).print(table_of(results, "Into rooms and back", AIMS))
    print(*notes, sep="\n")
    if json_file is not None:
        write_figures(
            json_file,
            {
                "machine": notes[0],
                "notes": notes[1:],
                "sizes": asdict(sizes),
                "results": [result.as_json(AIMS) for result in results],
            },
        )


if __name__ == "__main__":
    typer.run(main)
