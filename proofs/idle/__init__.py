"""Ten thousand idle sockets in rooms: what each costs the gateway in memory, and all of them in CPU.

The clients answer the gateway's pings and send nothing. At the end, each must still answer, and a message to each room
must reach all of its members.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.child import Child
from benchmarks.rig import Person, StoreKind, cpu_seconds, database_for, populate, store_url, temporary_folder
from proofs.bar import Bar, Proof, Report, Scale, at_most, none_of
from proofs.logs import wrong_lines
from proofs.process import memory_kb, raise_limit_of_files
from proofs.server import Server

MOST_KB = 24
MOST_SHARE = 15
"""Percent of a core."""

SOCKETS = 10_000
WARM = 200
"""Connections that come first, so that what the first ones alone need is not counted."""

ROOM_SIZE = 10
CLIENT_PROCESSES = 2
SPARE_FILES = 200
SETTLING_SECONDS = 20
SAMPLE_SECONDS = 20
ANSWER_SECONDS = 600
LENGTHS = {Scale.FULL: 3600.0, Scale.SHORT: 600.0}


@dataclass(frozen=True)
class Idled:
    """What was measured."""

    sockets: int
    seconds: float
    kilobytes: Sequence[float]
    """The memory of a connection, in the order of the samples."""
    cpu_share: float
    lost: int
    silent: int
    """Connections that did not answer at the end, and messages that a member did not get."""
    logs: Sequence[Bar] = ()
    """The bar of the server's log up to its end."""


async def measure(sockets: int, seconds: float, report: Report, *, warm: int = WARM) -> Idled:
    """Open the sockets, let them idle, and ask all of them at the end."""
    files = raise_limit_of_files()
    sockets = min(sockets, files - warm - SPARE_FILES)
    people = [Person(f"person-{number}") for number in range(warm + sockets)]
    rooms = {f"room-{number}": people[start : start + ROOM_SIZE] for number, start in _starts(len(people))}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        url = stack.enter_context(store_url(StoreKind.SQLITE, folder))
        database = database_for(url)
        try:
            await populate(database, people, rooms)
        finally:
            await database.close()
        server = Server(folder, url)
        logs: list[Bar] = []
        stack.callback(lambda: logs.append(wrong_lines("lines of the log that report a fault", server.log)))
        pid = await stack.enter_async_context(server.running())
        await stack.enter_async_context(_clients(server, people[:warm], rooms))
        await asyncio.sleep(SETTLING_SECONDS / 4)
        before = memory_kb(pid)
        shares = [people[warm + number :: CLIENT_PROCESSES] for number in range(CLIENT_PROCESSES)]
        children = [await stack.enter_async_context(_clients(server, share, rooms)) for share in shares]
        report(f"{sockets:,} sockets are open")
        await asyncio.sleep(SETTLING_SECONDS)
        began, cpu = time.monotonic(), cpu_seconds(pid)
        kilobytes = []
        while (elapsed := time.monotonic() - began) < seconds:
            kilobytes.append((memory_kb(pid) - before) / sockets)
            await asyncio.sleep(min(SAMPLE_SECONDS, max(0.1, seconds - elapsed)))
            if len(kilobytes) % 15 == 1:
                report(f"{kilobytes[-1]:.1f} KB each, {_share(pid, cpu, began):.1f} % of a core")
        share = _share(pid, cpu, began)
        ends = [await child.ask("end") for child in children]
        return Idled(
            sockets,
            time.monotonic() - began,
            kilobytes,
            share,
            sum(end["lost"] for end in ends),
            sum(end["silent"] for end in ends),
            logs,  # which are read when the server has ended
        )


def _starts(count: int) -> enumerate[int]:
    return enumerate(range(0, count, ROOM_SIZE))


def _share(pid: int, cpu: float, began: float) -> float:
    return 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - began)


def _clients(server: Server, people: Sequence[Person], rooms: dict[str, list[Person]]) -> Child:
    room_of = {person.id: name for name, members in rooms.items() for person in members}
    orders = {"port": server.port, "clients": [[person.token, room_of[person.id]] for person in people]}
    return Child("proofs.idle.clients", orders, ANSWER_SECONDS)


def bars_of(idled: Idled) -> list[Bar]:
    """Compare with the bars."""
    sockets = f"{idled.sockets:,} idle sockets"
    return [
        Bar("sockets that idle", f"{SOCKETS:,}", f"{idled.sockets:,}", idled.sockets >= SOCKETS),
        at_most(
            f"memory of each of {sockets}, at most in {idled.seconds / 60:.0f} min",
            max(idled.kilobytes),
            MOST_KB,
            " KB",
        ),
        at_most(f"CPU of the server with {sockets}", idled.cpu_share, MOST_SHARE, " % of a core"),
        none_of(f"connections lost of {sockets}", idled.lost),
        none_of("sockets without an answer, or a message in their room, at the end", idled.silent),
        *idled.logs,
    ]


async def _prove(scale: Scale, report: Report) -> list[Bar]:
    return bars_of(await measure(SOCKETS, LENGTHS[scale], report))


PROOF = Proof("idle", "Ten thousand idle sockets in rooms cost little, and none is lost.", _prove)
