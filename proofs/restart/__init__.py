"""Restarts under load: a thousand clients send, while the gateway is replaced in three ways.

In a rolling restart, SIGUSR1 replaces the two workers of one address, one after the other. A single process gets
SIGTERM and is started again. Two nodes behind nginx get SIGTERM in turn, and each is started again before the next.
"""

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import Child
from benchmarks.rig import Person, StoreKind, database_for, populate, store_url, temporary_folder
from proofs.bar import MEASUREMENTS, Bar, Proof, Report, Scale, none_of
from proofs.logs import wrong_lines
from proofs.members import in_rooms, orders_for
from proofs.process import raise_limit_of_files
from proofs.restart.nginx import running_nginx
from proofs.server import Server
from tests.support.valkey import running_valkey

CLIENTS = 1000
MESSAGES = 200
"""Messages a second of all clients together."""

BACK_SECONDS = 5.0
BURST_SHARE = 0.3
"""The largest share of the clients of a process that may connect within a quarter of a second, after its end."""

WARM_SECONDS = 5.0
SETTLED_SECONDS = 2.0
ANSWER_SECONDS = 300
LIMIT_SECONDS = 120.0
NEW = "all workers are new: "
"""What the supervisor logs at the end of a rolling restart."""

LEAVES = re.compile(r"takes the place of worker (\d+), which leaves")
"""What it logs when a worker sends its clients away."""


@dataclass(frozen=True)
class Returned:
    """What one restart was for the clients."""

    count: int
    longest: float
    """Seconds from the loss of a connection until its client was in its rooms again, at most."""
    seconds: float
    """From the signal until the last client was back."""
    steps: Sequence[Mapping[str, Any]]
    """Of each process that ended: how many clients it `lost`, and their `attempts` in each quarter of a second."""

    @property
    def is_in_time(self) -> bool:
        """Return whether the bars of time are passed."""
        return self.longest <= BACK_SECONDS and self.burst <= BURST_SHARE

    @property
    def burst(self) -> float:
        """Return the largest share of those that one process sent away that came in a quarter of a second."""
        share: float = max(
            (max(step["attempts"], default=0) / max(1, step["lost"]) for step in self.steps), default=0.0
        )
        return share


class Clients:
    """The clients, as the proof sees them."""

    def __init__(self, child: Child, report: Report) -> None:
        self._child = child
        self._report = report

    async def survive_some(self, what: str, restart: Callable[[], Awaitable[object]]) -> list[Returned]:
        """Restart something up to three times, until the bars of time are passed. All counts go on."""
        returns = [await self.survive(what, restart)]
        while not returns[-1].is_in_time and len(returns) < MEASUREMENTS:
            returns.append(await self.survive(what, restart))
        return returns

    async def survive(self, what: str, restart: Callable[[], Awaitable[object]]) -> Returned:
        """Restart something, wait until all that lost their connection are back, and return how it was."""
        await self._child.ask("forget")
        await restart()
        until = time.monotonic() + LIMIT_SECONDS
        while True:
            found = await self._child.ask("returns")
            if found["count"] and not found["away"]:
                break
            if time.monotonic() > until:
                raise RuntimeError(f"{what}: {found['away']} clients are not back after {LIMIT_SECONDS:.0f} s")
            await asyncio.sleep(0.1)
        returned = Returned(found["count"], found["longest"], found["last"], found["steps"])
        bins = "; ".join(" ".join(map(str, step["attempts"])) + f" of {step['lost']}" for step in returned.steps)
        self._report(
            f"{what}: {returned.count} returns, the longest took {returned.longest:.1f} s, all {returned.seconds:.1f} s"
            f" after the signal; connections by quarters of a second: {bins}"
        )
        return returned

    async def wait_until_back(self, is_late: Callable[[], bool]) -> None:
        """Wait until all that were sent away are back, or until it is late: the next process sends clients away."""
        while (await self._child.ask("returns"))["away"] and not is_late():  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.1)

    async def begin_step(self) -> None:
        """Begin the next part of a restart: another process ends."""
        await self._child.ask("step")

    async def end(self) -> dict[str, int]:
        """Stop the load, and return the counts."""
        end = await self._child.ask("end")
        for line in end["wrong"]:
            self._report(line)
        self._report(f"clients: {end['counts']}")
        counts: dict[str, int] = end["counts"]
        return counts


@asynccontextmanager
async def store_with_people(
    kind: StoreKind, count: int
) -> AsyncIterator[tuple[Path, str, list[Person], dict[str, list[Person]]]]:
    """Yield a folder, a store, and its users in rooms."""
    people, rooms = in_rooms([Person(f"person-{number}") for number in range(count)])
    with temporary_folder() as folder, store_url(kind, folder) as url:
        database = database_for(url)
        try:
            await populate(database, people, rooms)
        finally:
            await database.close()
        yield folder, url, people, rooms


@asynccontextmanager
async def clients_of(
    port: int, url: str, people: Sequence[Person], rooms: dict[str, list[Person]], report: Report
) -> AsyncIterator[Clients]:
    """Let the clients come and talk."""
    seed = random.randrange(2**32)
    report(f"the seed of the clients' choices is {seed}")
    orders = orders_for(port, people, rooms, seed, restarts=True, rates={"messages": MESSAGES}, url=url)
    async with Child("proofs.clients", orders, ANSWER_SECONDS) as child:
        await asyncio.sleep(WARM_SECONDS)
        yield Clients(child, report)


async def rolling(kind: StoreKind, report: Report) -> list[Bar]:
    """Replace two workers while their clients send."""
    what = f"rolling restart of 2 workers, {kind}"
    bars: list[Bar] = []
    async with AsyncExitStack() as stack:
        folder, url, people, rooms = await stack.enter_async_context(store_with_people(kind, CLIENTS))
        valkey = stack.enter_context(running_valkey())
        server = Server(folder, url, log_level="info", GATEWAY_BUS_URL=valkey.url)
        server.arguments += ["--workers", "2"]
        stack.callback(_read_log, server, what, bars)
        pid = await stack.enter_async_context(server.running())
        await _says(server.log, "workers serve: ", 1)
        clients = await stack.enter_async_context(clients_of(server.port, url, people, rooms, report))

        async def replace() -> None:
            before, places = _count(server.log, NEW), len(_all_leaving(server.log))
            os.kill(pid, signal.SIGUSR1)
            await _ended(await _leaving(server.log, places))
            await clients.wait_until_back(lambda: len(_all_leaving(server.log)) > places + 1)
            await clients.begin_step()
            await _says(server.log, NEW, before + 1)
            await asyncio.sleep(SETTLED_SECONDS)

        returns = await clients.survive_some(what, replace)
        bars += bars_of(what, returns, await clients.end())
    return bars


async def alone(kind: StoreKind, report: Report) -> list[Bar]:
    """Stop a single process with SIGTERM while its clients send, and start it again."""
    what = f"SIGTERM and a new start of one process, {kind}"
    bars: list[Bar] = []
    async with AsyncExitStack() as stack:
        folder, url, people, rooms = await stack.enter_async_context(store_with_people(kind, CLIENTS))
        server = Server(folder, url)
        stack.callback(_read_log, server, what, bars)
        life = await stack.enter_async_context(AsyncExitStack())
        await life.enter_async_context(server.running())
        clients = await stack.enter_async_context(clients_of(server.port, url, people, rooms, report))

        async def restart() -> None:
            await life.aclose()
            await life.enter_async_context(server.running())

        returns = await clients.survive_some(what, restart)
        bars += bars_of(what, returns, await clients.end())
    return bars


async def behind_proxy(kind: StoreKind, report: Report) -> list[Bar]:
    """Restart two nodes behind nginx, one after the other."""
    what = f"SIGTERM of 2 nodes behind nginx in turn, {kind}"
    bars: list[Bar] = []
    async with AsyncExitStack() as stack:
        folder, url, people, rooms = await stack.enter_async_context(store_with_people(kind, CLIENTS))
        valkey = stack.enter_context(running_valkey())
        nodes = [_node(folder / name, url, valkey.url) for name in ("first", "second")]
        for node in nodes:
            stack.callback(_read_log, node, f"{what}: of the {node.folder.name} node", bars)
        lives = [await stack.enter_async_context(AsyncExitStack()) for _ in nodes]
        for node, life in zip(nodes, lives, strict=True):
            await life.enter_async_context(node.running())
        port = await stack.enter_async_context(running_nginx(folder, [node.port for node in nodes]))
        clients = await stack.enter_async_context(clients_of(port, url, people, rooms, report))

        async def restart() -> None:
            for node, life in zip(nodes, lives, strict=True):
                if node is not nodes[0]:
                    await clients.begin_step()
                await life.aclose()
                await life.enter_async_context(node.running())
                await asyncio.sleep(SETTLED_SECONDS)

        returns = await clients.survive_some(what, restart)
        bars += bars_of(what, returns, await clients.end())
    return bars


def _node(folder: Path, url: str, bus_url: str) -> Server:
    folder.mkdir()
    return Server(folder, url, GATEWAY_BUS_URL=bus_url)


def _read_log(server: Server, what: str, bars: list[Bar]) -> None:
    """Add the bar of a log, when the server has ended."""
    bars.append(wrong_lines(f"{what}: lines of the log that report a fault", server.log))


async def _leaving(log: Path, known: int) -> int:
    """Return the next worker that leaves after so many."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while len(found := _all_leaving(log)) <= known:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return found[known]


def _all_leaving(log: Path) -> list[int]:
    return [int(pid) for pid in LEAVES.findall(log.read_text(encoding="utf-8"))]


async def _ended(pid: int) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110, ASYNC240 - another process
            await asyncio.sleep(0.05)


async def _says(log: Path, words: str, times: int) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while _count(log, words) < times:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


def _count(log: Path, words: str) -> int:
    return log.read_text(encoding="utf-8").count(words)


def bars_of(what: str, returns: Sequence[Returned], counts: dict[str, int]) -> list[Bar]:
    """Compare with the bars: the last restart for those of time, and all of them for the counts."""
    last = returns[-1]
    again = f" (measurement {len(returns)})" if len(returns) > 1 else ""
    cut = sum(counts.get(name, 0) for name in CUT)
    return [
        Bar(f"{what}: clients that move", f"≥ {CLIENTS:,}", f"{last.count:,}", last.count >= CLIENTS),
        Bar(
            f"{what}: the longest until one is back",
            f"≤ {BACK_SECONDS:g} s",
            f"{last.longest:.1f} s{again}",
            last.longest <= BACK_SECONDS,
            is_figure=True,
        ),
        Bar(
            f"{what}: most that come within 0.25 s",
            f"≤ {BURST_SHARE:.0%} of the clients sent away",
            f"{last.burst:.0%}{again}",
            last.burst <= BURST_SHARE,
            is_figure=True,
        ),
        none_of(f"{what}: acknowledged messages lost", counts.get("lost", 0) + counts.get("unanswered", 0)),
        none_of(f"{what}: doubled", counts.get("doubled", 0)),
        none_of(f"{what}: cut without a word, or refused for good", cut),
    ]


CUT = (
    "lost connections",
    "not back",
    "late answers",
    "refused messages",
    "refused connections",
    "asked to try again",
    "faults of the clients",
)
"""What a restart does not excuse."""

KINDS: dict[Scale, Sequence[StoreKind]] = {Scale.FULL: list(StoreKind), Scale.SHORT: [StoreKind.SQLITE]}


async def _prove(scale: Scale, report: Report) -> list[Bar]:
    raise_limit_of_files()
    bars: list[Bar] = []
    for kind in KINDS[scale]:
        for scenario in (rolling, alone, behind_proxy):
            bars += await scenario(kind, report)
    return bars


PROOF = Proof("restart", "A thousand clients send through restarts, and nothing of theirs is lost.", _prove)
