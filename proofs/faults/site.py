"""Where faults happen: nodes with their store and their bus, and users that may log in and talk."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.rig import Lives, Person, Server, database_for, populate
from proofs.process import memory_kb

PEOPLE = 6
AT_ONCE = 2
"""How many requests a user has on the way, at most."""

ON_THE_WAY = PEOPLE * AT_ONCE
ROOMS = 2
"""How many rooms each fault has for itself."""

TOKEN_AGE_SECONDS = 60
"""Tokens are older than the difference of any two clocks here: a node refuses one from its future."""

MOST_STARTS = 5
"""How often a gateway that ends at its start is started again."""

PROBES = "probes"


def rooms_of(fault: str) -> list[str]:
    """Return the rooms in which users talk while a fault happens."""
    return [f"{fault}-{number}" for number in range(1, ROOMS + 1)]


class Node:
    """A gateway in its own process, which can be killed, started again and paused."""

    def __init__(self, server: Server, lives: Lives) -> None:
        self.server = server
        self._lives = lives
        self.repeated_starts = 0
        """How often it ended at its start, and was started again."""

    @property
    def pid(self) -> int:
        """Return the process of its present life."""
        return self._lives.pid

    async def begin(self) -> None:
        """Begin a life, without a wait until it takes connections."""
        await self._lives.start()

    async def start(self) -> None:
        """Begin a life, and wait until it takes connections.

        A gateway whose store does not answer at the start ends, and begins anew, as a supervisor lets it.
        """
        for _ in range(MOST_STARTS):
            await self.begin()
            try:
                return await self.server.answers(self._lives.goes_on)
            except RuntimeError:
                if self._lives.goes_on():
                    raise
                await self._lives.end()
                self.repeated_starts += 1
        raise RuntimeError(f"the gateway does not start:\n{self.lines()[-1]}")

    async def kill(self) -> None:
        """End it with SIGKILL."""
        await self._lives.kill()

    def pause(self) -> None:
        """Stop it where it is, as a virtual machine that is moved, or a swapped-out process."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it continue."""
        os.kill(self.pid, signal.SIGCONT)

    def lines(self) -> list[str]:
        """Return what it has logged."""
        return self.server.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def memory_kb(self) -> int:
        """Return its memory, with what it has from its launcher."""
        return memory_kb(self.pid)


@dataclass
class Site:
    """Running nodes, and their store."""

    nodes: Sequence[Node]
    url: str
    """The store's URL."""
    people: Sequence[Person]
    prober: Person

    @property
    def servers(self) -> list[Server]:
        """Return the addresses of the nodes."""
        return [node.server for node in self.nodes]


def settled_people() -> list[Person]:
    """Return the users of a site; the last one is for probes."""
    names = [*(f"talker-{number}" for number in range(1, PEOPLE + 1)), "prober"]
    return [Person(name, age=TOKEN_AGE_SECONDS) for name in names]


@asynccontextmanager
async def running_nodes(servers: Sequence[Server], url: str, faults: Sequence[str]) -> AsyncIterator[Site]:
    """Start nodes on a new store, with rooms for these faults, and kill them at the end."""
    people = settled_people()
    rooms = [PROBES, *(room for fault in faults for room in rooms_of(fault))]
    database = database_for(url)
    try:
        await populate(database, people, dict.fromkeys(rooms, people))
    finally:
        await database.close()
    async with AsyncExitStack() as stack:
        nodes = [Node(server, await stack.enter_async_context(Lives(server))) for server in servers]
        await asyncio.gather(*(node.start() for node in nodes))
        yield Site(nodes, url, people[:-1], people[-1])
