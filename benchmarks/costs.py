"""What a round trip, a delivery and a connection cost a server: its CPU, with all its threads, and its memory."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from benchmarks.client import Client
from benchmarks.dialects import ECHO, ROOM
from benchmarks.rig import cpu_seconds, memory_kb
from benchmarks.talk import Echoing, Listening, Talk
from benchmarks.visit import WARM_CONNECTIONS, Figures, Sizes, Visit

SETTLING_SECONDS = 0.5
"""For what the gateway tells of those who have come."""

REST_SECONDS = 60
"""How long a server is given to answer what it has been asked."""

RESTING_SECONDS = 0.5
"""A server that has taken no CPU for so long is at rest."""

TURNS = 4
"""So many in a round, for each server."""

ROUND_TRIP = "µs of CPU a round trip"
ONE_AT_A_TIME = "µs of CPU a delivery, one message at a time"
TEN_SENDERS = "µs of CPU a delivery, ten senders"
PER_SECOND = "deliveries a second, ten senders"
CONNECTION = "µs of CPU a connection"
END = "µs of CPU a connection's end"
IDLE = "KB of RSS an idle connection"


Tally = dict[str, tuple[float, float]]
"""For each figure an amount, and of how many that is."""


class Alternating(Protocol):
    """What is measured on one server, a bit at a time, in turn with others that run as well."""

    async def open(self) -> None:
        """Connect."""

    async def turn(self, seconds: float) -> Tally:
        """Measure for so long, and leave the server at rest."""


class Echoes:
    """Round trips."""

    def __init__(self, visit: Visit, sizes: Sizes) -> None:
        self._visit = visit
        self._clients = [Echoing(visit.dialect) for _ in range(sizes.echoing)]

    async def open(self) -> None:
        """Connect."""
        await self._visit.open(self._clients, ECHO)
        for client in self._clients:
            client.listen()

    async def turn(self, seconds: float) -> Tally:
        """Measure for so long, and leave the server at rest."""
        for client in self._clients:
            client.begin()
        await asyncio.sleep(seconds / 3)
        before, cpu = self._answers, cpu_seconds(self._visit.pid)
        await asyncio.sleep(seconds)
        used, answers = cpu_seconds(self._visit.pid) - cpu, self._answers - before
        for client in self._clients:
            client.stopped = True
        async with asyncio.timeout(REST_SECONDS):
            for client in self._clients:
                await client.rests.wait()
        return {ROUND_TRIP: (1e6 * used, answers)}

    @property
    def _answers(self) -> int:
        return sum(client.answers for client in self._clients)


class Deliveries:
    """What goes to everyone in a room, one message at a time and by ten at once."""

    def __init__(self, visit: Visit, sizes: Sizes) -> None:
        self._visit = visit
        self._talk = Talk(sizes.listening)
        self._clients = [Listening(visit.dialect, self._talk, number) for number in range(sizes.listening)]

    async def open(self) -> None:
        """Connect."""
        await self._visit.open(self._clients, ROOM)
        await asyncio.sleep(SETTLING_SECONDS)
        for client in self._clients:
            client.listen()

    async def turn(self, seconds: float) -> Tally:
        """Measure for so long, and leave the server at rest."""
        first = self._clients[0]
        self._talk.stopped, self._talk.on_all_heard = False, first.say
        first.say()
        alone, _ = await self._overhear(seconds)
        await self._all_heard()
        self._talk.stopped, self._talk.on_all_heard = False, lambda: None
        for client in self._clients[:10]:
            client.keep_talking()
        together, per_second = await self._overhear(seconds)
        await self._all_heard()
        for client in self._clients[:10]:
            client.talk_no_more()
        return {ONE_AT_A_TIME: alone, TEN_SENDERS: together, PER_SECOND: per_second}

    async def _overhear(self, seconds: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Give the microseconds of CPU and deliveries; and deliveries and seconds."""
        await asyncio.sleep(seconds / 3)
        talk, pid = self._talk, self._visit.pid
        heard, cpu, began = talk.heard, cpu_seconds(pid), time.perf_counter()
        await asyncio.sleep(seconds)
        heard, cpu, took = talk.heard - heard, cpu_seconds(pid) - cpu, time.perf_counter() - began
        return (1e6 * cpu, heard), (heard, took)

    async def _all_heard(self) -> None:
        """Stop, and see that what was said has been heard by all, once."""
        talk = self._talk
        talk.stopped = True
        if talk.heard < talk.said * talk.size:
            done = asyncio.Event()
            talk.on_all_heard = done.set
            async with asyncio.timeout(REST_SECONDS):
                await done.wait()
        if talk.heard != talk.said * talk.size:
            raise RuntimeError("more was heard than was said")


class Connections:
    """Connections, up to and with the welcome, and their ends."""

    def __init__(self, visit: Visit, sizes: Sizes) -> None:
        self._visit = visit
        self._each = max(1, sizes.connecting // TURNS)
        self._warm = [Client() for _ in range(min(WARM_CONNECTIONS, sizes.connecting))]

    async def open(self) -> None:
        """Connect some that stay."""
        await self._visit.open(self._warm, ECHO)

    async def turn(self, seconds: float) -> Tally:
        """Open so many connections, however long that takes, and leave the server at rest."""
        cpu = cpu_seconds(self._visit.pid)
        clients = await self._visit.open([Client() for _ in range(self._each)], ECHO)
        opened = cpu_seconds(self._visit.pid)
        for client in clients:
            client.hang_up()
        await self._rest()
        ended = cpu_seconds(self._visit.pid)
        return {CONNECTION: (1e6 * (opened - cpu), self._each), END: (1e6 * (ended - opened), self._each)}

    async def _rest(self) -> None:
        """Wait until the server has seen them off."""
        async with asyncio.timeout(REST_SECONDS):
            used = -1.0
            while used != (used := cpu_seconds(self._visit.pid)):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(RESTING_SECONDS)


def figures_of(name: str, tallies: Sequence[Tally]) -> Figures:
    """Put the turns of a server together."""
    figures: Figures = {}
    for figure in tallies[0]:
        amount, count = (sum(part) for part in zip(*(tally[figure] for tally in tallies), strict=True))
        if not count:
            raise RuntimeError(f"nobody hears anything from {name}")
        figures[figure] = {name: amount / count}
    return figures


async def idle(visit: Visit, sizes: Sizes) -> Figures:
    """Measure what a connection in a room holds while nothing happens."""
    warm = await visit.open([Client() for _ in range(WARM_CONNECTIONS)], ROOM)
    await asyncio.sleep(2 * SETTLING_SECONDS)
    before = memory_kb(visit.pid)
    rest = await visit.open([Client() for _ in range(sizes.idle)], ROOM)
    await asyncio.sleep(4 * SETTLING_SECONDS)
    held = memory_kb(visit.pid) - before
    assert len(warm) + len(rest) == WARM_CONNECTIONS + sizes.idle  # noqa: S101 - held until here, so all are open
    return {IDLE: {visit.name: held / sizes.idle}}
