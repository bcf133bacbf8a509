"""Measures messages that a service answers: `python -m benchmarks.upstream`.

The gateway passes each message to a service that answers at once, over HTTP or to a worker. Beside it, the WebSocket of
FastAPI's tutorial asks the same service with httpx2. Each connection has one message on its way. All servers run, and
the benchmark measures them in short turns. CPU is that of the server's process; the service has its own.

The gateway does more: it has checked a token, counts rates, signs the request, and checks the answer.

The last lines are the round trips of an echo by the clock, without calls and while 64 calls of other connections hang.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.client import Client
from benchmarks.pace import Pace, percentile, woken_first
from benchmarks.peers.processes import PROGRAMS, ROOT, Peer, on_uvicorn
from benchmarks.report import JsonFile, interruptible, machine, write_figures
from benchmarks.rig import Person, Server, cpu_seconds, database_for, populate, temporary_folder
from gateway.auth import service_keys
from gateway.store import services

WIDTH = 110
HTTP, WORKER, TUTORIAL = "gateway, over HTTP", "gateway, to a worker", "FastAPI and httpx2"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of nothing but this benchmark
HANGING_CONNECTIONS, HANGING_CALLS = 8, 8
ECHOING = 10
ECHOES_PER_SECOND = 400
START_SECONDS = 20

ROUTES = """
[routes."orders.*"]
url = "{url}/orders"
secret = "{secret}"

[routes."hang.*"]
url = "{url}/hang"
secret = "{secret}"
timeout_seconds = 60

[routes."stock.*"]
worker = true
"""


class Caller(Client):
    """A connection that sends a message, and the next after each answer."""

    def __init__(self, type: str) -> None:
        super().__init__()
        self._type = type.encode()
        self._number = 0
        self._stopped = True
        self.answers = 0
        self.failed: bytes | None = None

    def start(self) -> None:
        """Begin."""
        self._stopped = False
        self._ask()

    def stop(self) -> None:
        """End after the next answer."""
        self._stopped = True

    def take(self, text: bytes) -> None:
        """Count an answer."""
        if not text.startswith(b'{"type":"reply"'):
            self.failed = text
            return
        self.answers += 1
        if not self._stopped:
            self._ask()

    def _ask(self) -> None:
        self._number += 1
        data = b'{"sku":"A-4711","count":2,"note":"as soon as you can"}'
        self.send(b'{"type":"%b","id":%d,"data":%b}' % (self._type, self._number, data))


class Echoing(Client):
    """A connection that measures echoes."""

    def __init__(self, taken: list[float]) -> None:
        super().__init__()
        self._taken = taken
        self._sent: deque[float] = deque()

    def ask(self, number: int) -> None:
        """Send a message."""
        self._sent.append(time.perf_counter())
        self.send(b'{"type":"echo","id":%d,"data":{"n":1}}' % number)

    def take(self, text: bytes) -> None:
        """Take an answer; they come in order."""
        if not text.startswith(b'{"type":"reply"'):
            raise RuntimeError(f"expected a reply, got {text!r}")
        self._taken.append(time.perf_counter() - self._sent.popleft())


@dataclass(frozen=True)
class Turn:
    """The figures of one server in one turn."""

    cpu: float
    """Microseconds for each message."""
    per_second: float


class Subject:
    """A server, and the connections that send to it."""

    def __init__(self, name: str, pid: int, callers: Sequence[Caller]) -> None:
        self.name = name
        self._pid = pid
        self._callers = callers
        self.turns: list[Turn] = []

    async def measure(self, warm_up: float, seconds: float) -> None:
        """Measure a turn."""
        for caller in self._callers:
            caller.start()
        await asyncio.sleep(warm_up)
        answers, cpu, began = self._answers(), cpu_seconds(self._pid), time.perf_counter()
        await asyncio.sleep(seconds)
        used, took = cpu_seconds(self._pid) - cpu, time.perf_counter() - began
        answered = self._answers() - answers
        for caller in self._callers:
            caller.stop()
            if caller.failed is not None:
                raise RuntimeError(f"{self.name}: {caller.failed!r}")
        await asyncio.sleep(0.1)
        self.turns.append(Turn(1e6 * used / answered, answered / took))

    def _answers(self) -> int:
        return sum(caller.answers for caller in self._callers)


async def connected(clients: Sequence[Any], urls: Sequence[str], first: bytes | None) -> None:
    """Connect, wait for the first text if there is one, and listen."""
    for client, url in zip(clients, urls, strict=True):
        if first is None:
            await client.connect(url)
        else:
            await asyncio.gather(client.wait_for(first), client.connect(url))
        client.listen()


@asynccontextmanager
async def worker(port: int, key: str) -> AsyncIterator[None]:
    """Run a worker in its own process."""
    program = PROGRAMS / "upstream_worker.py"
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - our own program; starting takes no time
        [sys.executable, str(program), str(port), key], cwd=ROOT, stdin=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Bench:
    """The gateway with its users, the service, the worker and the peer."""

    def __init__(self, folder: Path, callers: int) -> None:
        self._folder = folder
        self._people = [Person(f"user-{number}") for number in range(callers + HANGING_CONNECTIONS + ECHOING)]
        self._callers = callers
        self.subjects: list[Subject] = []
        self.p99: dict[str, list[float]] = {"without calls": [], "while calls hang": []}

    async def open(self, stack: AsyncExitStack) -> None:
        """Start everything, and connect."""
        service = Peer("service", on_uvicorn("upstream_service"), lambda port: port)  # type: ignore[type-var]
        _, port = await stack.enter_async_context(service.running(self._folder))
        url = f"http://127.0.0.1:{port}"
        (self._folder / "routes.toml").write_text(ROUTES.format(url=url, secret=SECRET))
        key = await self._prepare()
        server = Server(self._folder, None, GATEWAY_ROUTES=str(self._folder / "routes.toml"))
        pid = await stack.enter_async_context(server.running())
        await stack.enter_async_context(worker(server.port, key))
        urls = [server.url(person.token) for person in self._people]
        for name, type_ in ((HTTP, "orders.create"), (WORKER, "stock.list")):
            callers = [Caller(type_) for _ in range(self._callers)]
            await connected(callers, urls[: self._callers], b'{"type":"welcome"')
            self.subjects.append(Subject(name, pid, callers))
        environment = {"PEER_UPSTREAM": f"{url}/orders"}
        peer = Peer(TUTORIAL, on_uvicorn("tutorial_upstream"), lambda port: port, environment)  # type: ignore[type-var]
        peer_pid, peer_port = await stack.enter_async_context(peer.running(self._folder))
        callers = [Caller("orders.create") for _ in range(self._callers)]
        await connected(callers, [f"ws://127.0.0.1:{peer_port}/upstream"] * self._callers, None)
        self.subjects.append(Subject(TUTORIAL, peer_pid, callers))
        self._hanging_urls, self._echo_urls = urls[-HANGING_CONNECTIONS - ECHOING : -ECHOING], urls[-ECHOING:]

    async def echoes(self, seconds: float, rounds: int) -> None:
        """Measure echoes without calls and while calls hang, in turns."""
        taken: list[float] = []
        echoing = [Echoing(taken) for _ in range(ECHOING)]
        await connected(echoing, self._echo_urls, b'{"type":"welcome"')
        for _ in range(rounds):
            self.p99["without calls"].append(await self._echo(echoing, taken, seconds))
            hanging = [Client() for _ in range(HANGING_CONNECTIONS)]
            await connected(hanging, self._hanging_urls, b'{"type":"welcome"')
            for client in hanging:
                for number in range(HANGING_CALLS):
                    client.send(b'{"type":"hang.on","id":%d}' % number)
            await asyncio.sleep(0.2)
            self.p99["while calls hang"].append(await self._echo(echoing, taken, seconds))
            for client in hanging:
                client.hang_up()
            await asyncio.sleep(0.2)
        for client in echoing:
            client.hang_up()

    async def _echo(self, echoing: Sequence[Echoing], taken: list[float], seconds: float) -> float:
        taken.clear()
        with woken_first():
            await Pace(ECHOES_PER_SECOND, lambda number: echoing[number % ECHOING].ask(number)).run(seconds)
            await asyncio.sleep(0.2)
        return 1000 * percentile(taken, 99)

    async def _prepare(self) -> str:
        """Add the users and the service account, and return its key."""
        database = database_for(f"sqlite:///{self._folder / 'gateway.db'}")
        now = time.time_ns() // 1_000_000
        add = partial(services.add, name="stock", kind="service", scopes=("api:serve",), rooms=None, room=None, now=now)
        try:
            await populate(database, self._people, {})
            return await database.transact(lambda store: service_keys.issue(store, add(store), now).text)
        finally:
            await database.close()


def table_of(bench: Bench) -> Table:
    """Build the table."""
    table = Table(title="Messages that a service answers", caption=machine())
    table.add_column("")
    for heading in ("µs of CPU", "a second", "ratio to ours"):
        table.add_column(heading, justify="right")
    ours = median(turn.cpu for turn in bench.subjects[0].turns)
    for subject in bench.subjects:
        cpu = median(turn.cpu for turn in subject.turns)
        per_second = median(turn.per_second for turn in subject.turns)
        table.add_row(subject.name, f"{cpu:.0f}", f"{per_second:,.0f}", f"{cpu / ours:.2f}×")
    for name, values in bench.p99.items():
        table.add_row(f"ms p99 of an echo {name}", f"{median(values):.2f}", "", "")
    return table


async def run(callers: int, seconds: float, rounds: int, report: Callable[[str], None]) -> Bench:
    """Measure everything."""
    with temporary_folder() as folder:
        async with AsyncExitStack() as stack:
            bench = Bench(folder, callers)
            await bench.open(stack)
            for turn in range(rounds):
                for subject in bench.subjects:
                    report(f"round {turn + 1} of {rounds}: {subject.name}")
                    await subject.measure(0.3 if turn else 1.0, seconds)
            report("echoes")
            await bench.echoes(seconds, rounds)
            return bench


def main(
    callers: Annotated[int, typer.Option(help="Connections with one message each on its way.")] = 16,
    seconds: Annotated[float, typer.Option(help="Seconds of a turn.")] = 2.0,
    rounds: Annotated[int, typer.Option(help="Turns of each server.")] = 5,
    json: JsonFile = None,
) -> None:
    """Measure messages that a service answers."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    with interruptible(), console.status("starting") as status:
        bench = uvloop.run(run(callers, seconds, rounds, status.update))
    console.print(table_of(bench))
    if json is not None:
        figures = {subject.name: [vars(turn) for turn in subject.turns] for subject in bench.subjects}
        write_figures(json, {"machine": machine(), "turns": figures, "echo_p99_ms": bench.p99})


if __name__ == "__main__":
    os.chdir(ROOT)
    typer.run(main)
