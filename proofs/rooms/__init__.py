"""A property that must hold: each client's view of a room is a true slice of the room's log, in the order of real time.

Each round has a seed of its own. Users talk, edit, append and delete, or they join, leave, resume and hang up, all at
random. Their network delays, throttles, stalls and cuts. Nodes are killed, and the bus restarts. In the end, each
view and each acknowledgement is compared with the log, and the log with the order of the requests.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from benchmarks.rig import Server, StoreKind, database_for, store_url, temporary_folder
from benchmarks.story import compare_database
from proofs.bar import Bar, Proof, Report, Scale, none_of
from proofs.faults.site import Site, rooms_of, running_nodes
from proofs.faults.trial import DISORDER, DOUBLED, LOST
from proofs.logs import wrong_lines
from proofs.rooms.detour import Detour
from proofs.rooms.gathering import Gathering, Mischief
from tests.support.postgres import fresh_database, running_postgres
from tests.support.valkey import Valkey, running_valkey

ROUNDS = {Scale.SHORT: 3, Scale.FULL: 60}
SECONDS = {Scale.SHORT: 10.0, Scale.FULL: 20.0}
"""How long the mischief of a round goes on."""

CALM_SECONDS = 1.0
MOST_LINES = 12
"""How many faults of a round are shown."""


@dataclass
class Place:
    """Running nodes, and what else may be harmed."""

    name: str
    site: Site
    url: str
    others: Sequence[Callable[[], Awaitable[None]]] = ()


@dataclass
class Found:
    """What the rounds at one place have shown together."""

    place: str
    is_alone: bool = False
    """Whether there is one node: a join may not be behind another one then."""
    lost: int = 0
    doubled: int = 0
    disorder: int = 0
    others: int = 0
    late: int = 0
    acknowledged: int = 0
    views: int = 0
    stale_reads: int = 0
    resumes: int = 0
    mischief: dict[str, int] = field(default_factory=dict)

    def bars(self) -> list[Bar]:
        """Return the lines of the table."""
        done = ", ".join(f"{count:,} {what}" for what, count in self.mischief.items())
        size = f"{self.views:,} views and {self.acknowledged:,} acknowledged changes; {done}"
        return [
            Bar(f"{self.place}: the rounds", "something to compare", size, bool(self.views and self.acknowledged)),
            none_of(f"{self.place}: acknowledged changes that are lost, or missing from a view", self.lost),
            none_of(f"{self.place}: changes that came twice", self.doubled),
            none_of(f"{self.place}: changes out of order in a view", self.disorder),
            none_of(f"{self.place}: changes before one that was acknowledged before they began", self.late),
            none_of(f"{self.place}: other faults", self.others),
            Bar(f"{self.place}: resumes that brought what was missed", "≥ 1", f"{self.resumes:,}", self.resumes > 0),
            *self._bars_of_one_node(),
        ]

    def _bars_of_one_node(self) -> list[Bar]:
        what = f"{self.place}: joins that show less than was acknowledged before they began"
        return [none_of(what, self.stale_reads)] if self.is_alone else []

    def add(self, gathering: Gathering, mischief: Mischief) -> list[str]:
        """Add a round, and return its faults in words."""
        counts = gathering.story.counts + gathering.sightings.counts
        late, stale = gathering.order.late(), gathering.order.stale_reads()
        lines = gathering.story.wrong + gathering.sightings.wrong
        self.lost += sum(counts[kind] for kind in LOST)
        self.doubled += sum(counts[kind] for kind in DOUBLED)
        self.disorder += sum(counts[kind] for kind in DISORDER)
        self.late += len(late)
        self.others += len(lines) if not any(counts[kind] for kind in (*LOST, *DOUBLED, *DISORDER)) else 0
        self.acknowledged += gathering.acknowledged
        self.views += sum(len(member.views) for member in gathering.members)
        self.stale_reads += len(stale)
        self.resumes += gathering.sightings.counts["recovered"]
        for what, count in mischief.counts.items():
            self.mischief[what] = self.mischief.get(what, 0) + count
        return [*lines, *late, *(stale if self.is_alone else ())]


async def prove(scale: Scale, report: Report) -> list[Bar]:
    """Play rounds on two nodes, and on one with SQLite, at the same time."""
    seed = random.SystemRandom().randrange(2**32)
    report(f"the seed of the rounds is {seed}")
    found = await asyncio.gather(_rounds(two_nodes, scale, seed, report), _rounds(one_node, scale, seed, report))
    return [bar for bars in found for bar in bars]


async def _rounds(
    place: Callable[[Sequence[str]], AbstractAsyncContextManager[Place]], scale: Scale, seed: int, report: Report
) -> list[Bar]:
    names = [f"round-{number}" for number in range(1, ROUNDS[scale] + 1)]
    async with place(names) as at:
        found = Found(at.name, is_alone=len(at.site.nodes) == 1)
        for number, name in enumerate(names):
            await play(at, name, SECONDS[scale], seed + number, found, report)
        return [*found.bars(), *_bars_of_nodes(at)]


def _bars_of_nodes(place: Place) -> list[Bar]:
    """Return the bars of what the nodes have logged, and how they have started."""
    logs = [
        wrong_lines(f"{place.name}: lines of the log of node {number} that report a fault", node.server.log)
        for number, node in enumerate(place.site.nodes, 1)
    ]
    if place.others:
        return logs  # a node may find the bus away at its start
    repeated = sum(node.repeated_starts for node in place.site.nodes)
    return [*logs, none_of(f"{place.name}: starts of a node that ended, and were repeated", repeated)]


async def play(place: Place, name: str, seconds: float, seed: int, found: Found, report: Report) -> None:
    """Play one round, and add what it shows."""
    chance = random.Random(seed)
    site = place.site
    async with AsyncExitStack() as stack:
        detours = [await stack.enter_async_context(Detour(server, chance)) for server in site.servers]
        gathering = Gathering(site.people, site.servers, detours, rooms_of(name), seed)
        mischief = Mischief(site.nodes, detours, place.others, chance)
        async with gathering:
            await asyncio.sleep(CALM_SECONDS)
            await mischief.go_on(seconds)
            await asyncio.sleep(CALM_SECONDS)
            await gathering.finish()
        database = database_for(place.url)
        try:
            await compare_database(database, gathering.story)
        finally:
            await database.close()
    lines = found.add(gathering, mischief)
    counts = dict(gathering.story.counts + gathering.sightings.counts)
    report(f"{place.name}, {name}: {dict(mischief.counts)} {counts}; {found.stale_reads} joins behind another node")
    for line in lines[:MOST_LINES]:
        report(f"{place.name}, {name}, seed {seed}: {line}")


@asynccontextmanager
async def two_nodes(names: Sequence[str]) -> AsyncIterator[Place]:
    """Start two nodes with PostgreSQL and Valkey."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres(sync=True))
        url = stack.enter_context(fresh_database(postgres.url("postgres")))
        valkey = stack.enter_context(running_valkey())
        folders = [stack.enter_context(temporary_folder()) for _ in "12"]
        servers = [Server(folder, url, GATEWAY_BUS_URL=valkey.url) for folder in folders]
        async with running_nodes(servers, url, names) as site:
            yield Place("two nodes", site, url, [partial(_restart, valkey)])


async def _restart(valkey: Valkey) -> None:
    await asyncio.to_thread(valkey.stop)
    await asyncio.to_thread(valkey.start)


@asynccontextmanager
async def one_node(names: Sequence[str]) -> AsyncIterator[Place]:
    """Start one node with SQLite."""
    with temporary_folder() as folder, store_url(StoreKind.SQLITE, folder) as url:
        async with running_nodes([Server(folder, url)], url, names) as site:
            yield Place("SQLite", site, url)


PROOF = Proof("rooms", "each view of a room is a true slice of its log, also when clients and nodes fail", prove)
