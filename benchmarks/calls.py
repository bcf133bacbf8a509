"""Compares a message over HTTP with the same one on a socket: `python -m benchmarks.calls`.

Each user has one message on its way, over a connection that stays open. An `echo` shows the cost of the way, and a
`chat.send` what is left of it beside the store. The token is checked at each call, and once for a socket.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated, Any, Self

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.durable import TEXT
from benchmarks.report import JsonFile, machine, write_figures
from benchmarks.rig import (
    ANSWER_SECONDS,
    Person,
    Server,
    StoreKind,
    connect,
    cpu_seconds,
    database_for,
    populate,
    store_url,
    temporary_folder,
)

ROOM = "lobby"
MESSAGES: dict[str, dict[str, Any]] = {"echo": {"text": TEXT}, "chat.send": {"room": ROOM, "text": TEXT}}

Ask = Callable[[str, dict[str, Any]], Awaitable[object]]
"""A function that sends a message and returns its answer."""


@dataclass(frozen=True)
class Cost:
    """One message in one way. CPU is microseconds of the gateway, latency is milliseconds."""

    type: str
    way: str
    cpu: float
    per_second: float
    latency: float


class HttpCaller:
    """A user's HTTP connection, which stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"

    @classmethod
    async def open(cls, server: Server, person: Person) -> Self:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        return cls(reader, writer, person.token)

    async def ask(self, type: str, data: dict[str, Any]) -> bytes:
        """Call a type, and return the answer's body. Raise `RuntimeError` for an error."""
        body = json.dumps(data)
        request = f"POST /call/{type} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n{body}"
        self._writer.write(request.encode())
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answer = await self._reader.readexactly(size)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"expected 200, got {head.decode()}{answer.decode()}")
        return answer

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


async def measure(users: int, seconds: float, rounds: int) -> list[Cost]:
    """Measure every message in both ways."""
    people = [Person(f"person-{number}") for number in range(users)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        url = stack.enter_context(store_url(StoreKind.SQLITE, folder))
        database = database_for(url)
        try:
            await populate(database, people, {ROOM: people})
        finally:
            await database.close()
        server = Server(folder, url)
        pid = await stack.enter_async_context(server.running())
        sockets = [await connect(server, person) for person in people]
        callers = [await HttpCaller.open(server, person) for person in people]
        ways: dict[str, list[Ask]] = {
            "socket": [lambda kind, data, to=socket: to.ask(kind, **data) for socket in sockets],  # type: ignore[misc]
            "/call": [caller.ask for caller in callers],
        }
        found: dict[tuple[str, str], list[Cost]] = {}
        for _ in range(rounds):
            for kind in MESSAGES:
                for way, askers in ways.items():
                    found.setdefault((kind, way), []).append(await _measure(kind, way, askers, pid, seconds))
        for socket, caller in zip(sockets, callers, strict=True):
            await socket.close()
            await caller.close()
        return [_median(costs) for costs in found.values()]


async def _measure(kind: str, way: str, askers: Sequence[Ask], pid: int, seconds: float) -> Cost:
    end = time.perf_counter() + seconds
    taken: list[float] = []

    async def go_on(ask: Ask) -> None:
        while (began := time.perf_counter()) < end:
            await ask(kind, MESSAGES[kind])
            taken.append(time.perf_counter() - began)

    used = cpu_seconds(pid)
    await asyncio.gather(*(go_on(ask) for ask in askers))
    used = cpu_seconds(pid) - used
    return Cost(kind, way, 1e6 * used / len(taken), len(taken) / seconds, 1000 * median(taken))


def _median(costs: Sequence[Cost]) -> Cost:
    """Return the round whose CPU is in the middle."""
    return sorted(costs, key=lambda cost: cost.cpu)[len(costs) // 2]


def table_of(costs: Sequence[Cost]) -> Table:
    """Build the table of the figures."""
    table = Table(title="A message over HTTP and on a socket", caption=machine())
    for name in ("message", "way"):
        table.add_column(name)
    for name in ("µs of CPU", "a second", "ms (median)"):
        table.add_column(name, justify="right")
    for each in costs:
        table.add_row(each.type, each.way, f"{each.cpu:.0f}", f"{each.per_second:,.0f}", f"{each.latency:.2f}")
    return table


def main(
    users: Annotated[int, typer.Option(min=1, max=1000, help="How many users, each with a message on its way.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure each way in a round.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Of how many rounds to take the median.")] = 5,
    json_file: JsonFile = None,
) -> None:
    """Measure what a message costs over HTTP, next to a socket."""
    costs = uvloop.run(measure(users, seconds, rounds))
    Console(highlight=False).print(table_of(costs))
    if json_file is not None:
        write_figures(json_file, {"machine": machine(), "costs": [asdict(each) for each in costs]})


if __name__ == "__main__":
    typer.run(main)
