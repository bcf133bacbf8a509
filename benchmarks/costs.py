"""Measures the cost of a round trip, a delivery and a connection: the server's CPU in all threads, and its memory."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from benchmarks.client import Client
from benchmarks.dialects import ECHO, ROOM
from benchmarks.rig import cpu_seconds, memory_kb, wait_for_rest
from benchmarks.talk import Echoing, Listening, Talk
from benchmarks.visit import WARM_CONNECTIONS, Figures, Sizes, Visit

SETTLING_SECONDS = 0.5
"""Seconds for the presence events of new connections."""

REST_SECONDS = 60
"""Seconds in which a server must answer all requests."""

RESTING_SECONDS = 0.5
"""Seconds without work after which a server is at rest."""

TURNS = 4
"""Turns of each server in a round."""

ROUND_TRIP = "µs of CPU a round trip"
ONE_AT_A_TIME = "µs of CPU a delivery, one message at a time"
TEN_SENDERS = "µs of CPU a delivery, ten senders"
PER_SECOND = "deliveries a second, ten senders"
CONNECTION = "µs of CPU a connection"
END = "µs of CPU a connection's end"
IDLE = "KB of RSS an idle connection"


Tally = dict[str, tuple[float, float]]
"""An amount for each figure, and the number of items that it covers."""


class Alternating(Protocol):
    """A measurement of one server, in short turns that alternate with those of other servers."""

    async def open(self) -> None:
        """Connect."""

    async def turn(self, seconds: float) -> Tally:
        """Measure for so many seconds, and leave the server at rest."""


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
        """Measure for so many seconds, and leave the server at rest."""
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
    """Deliveries to all members of a room, of one message at a time and of ten senders at once."""

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
        """Measure for so many seconds, and leave the server at rest."""
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
        """Return the microseconds of CPU with the deliveries, and the deliveries with the seconds."""
        await asyncio.sleep(seconds / 3)
        talk, pid = self._talk, self._visit.pid
        heard, cpu, began = talk.heard, cpu_seconds(pid), time.perf_counter()
        await asyncio.sleep(seconds)
        heard, cpu, took = talk.heard - heard, cpu_seconds(pid) - cpu, time.perf_counter() - began
        return (1e6 * cpu, heard), (heard, took)

    async def _all_heard(self) -> None:
        """Stop, and check that each member has received each message once."""
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
    """Connections up to the welcome, and their ends."""

    def __init__(self, visit: Visit, sizes: Sizes) -> None:
        self._visit = visit
        self._each = max(1, sizes.connecting // TURNS)
        self._warm = [Client() for _ in range(min(WARM_CONNECTIONS, sizes.connecting))]

    async def open(self) -> None:
        """Open some connections that stay."""
        await self._visit.open(self._warm, ECHO)

    async def turn(self, seconds: float) -> Tally:
        """Open a fixed number of connections, and leave the server at rest."""
        cpu = cpu_seconds(self._visit.pid)
        clients = await self._visit.open([Client() for _ in range(self._each)], ECHO)
        opened = cpu_seconds(self._visit.pid)
        for client in clients:
            client.hang_up()
        await self._rest()
        ended = cpu_seconds(self._visit.pid)
        return {CONNECTION: (1e6 * (opened - cpu), self._each), END: (1e6 * (ended - opened), self._each)}

    async def _rest(self) -> None:
        """Wait until the server has removed them."""
        async with asyncio.timeout(REST_SECONDS):
            await wait_for_rest(self._visit.pid, RESTING_SECONDS)


def figures_of(name: str, tallies: Sequence[Tally]) -> Figures:
    """Sum the turns of a server."""
    figures: Figures = {}
    for figure in tallies[0]:
        amount, count = (sum(part) for part in zip(*(tally[figure] for tally in tallies), strict=True))
        if not count:
            raise RuntimeError(f"no client receives anything from {name}")
        figures[figure] = {name: amount / count}
    return figures


async def idle(visit: Visit, sizes: Sizes) -> Figures:
    """Measure the memory of an idle connection in a room."""
    warm = await visit.open([Client() for _ in range(WARM_CONNECTIONS)], ROOM)
    await asyncio.sleep(2 * SETTLING_SECONDS)
    before = memory_kb(visit.pid)
    rest = await visit.open([Client() for _ in range(sizes.idle)], ROOM)
    await asyncio.sleep(4 * SETTLING_SECONDS)
    held = memory_kb(visit.pid) - before
    assert len(warm) + len(rest) == WARM_CONNECTIONS + sizes.idle  # noqa: S101 - the references keep all of them open
    return {IDLE: {visit.name: held / sizes.idle}}
