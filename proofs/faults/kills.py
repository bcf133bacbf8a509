"""Kills: a node alone with SQLite, and two nodes with PostgreSQL and Valkey, again and again in the middle of work."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager

from benchmarks.rig import Server, StoreKind, store_url, temporary_folder
from proofs.faults.fault import Fault, Place
from proofs.faults.site import Node, Site, running_nodes
from tests.support.valkey import running_valkey

SHORT, FULL = 15, 500
"""How many kills there are at each place."""

MEAN_LIFE_SECONDS = 0.8
LONGEST_LIFE_SECONDS = 3.0

STARTING = 0.1
"""The share of lives that end while the gateway starts."""

START_SECONDS = 0.3


@asynccontextmanager
async def alone(faults: Sequence[str]) -> AsyncIterator[Site]:
    """Start a node on SQLite."""
    with temporary_folder() as folder, store_url(StoreKind.SQLITE, folder) as url:
        async with running_nodes([Server(folder, url)], url, faults) as site:
            yield site


@asynccontextmanager
async def two_nodes(faults: Sequence[str]) -> AsyncIterator[Site]:
    """Start two nodes on PostgreSQL and Valkey, on this machine."""
    with ExitStack() as stack:
        folders = [stack.enter_context(temporary_folder()) for _ in "12"]
        url = stack.enter_context(store_url(StoreKind.POSTGRES, folders[0]))
        bus = stack.enter_context(running_valkey())
        servers = [Server(folder, url, GATEWAY_BUS_URL=bus.url) for folder in folders]
        async with running_nodes(servers, url, faults) as site:
            yield site


async def _kill_often(site: Site, kills: float) -> None:
    chance = random.Random(kills)
    for _ in range(int(kills)):
        await _kill(chance.choice(site.nodes), chance)


async def _kill(node: Node, chance: random.Random) -> None:
    await asyncio.sleep(min(chance.expovariate(1 / MEAN_LIFE_SECONDS), LONGEST_LIFE_SECONDS))
    await node.kill()
    if chance.random() < STARTING:
        await node.begin()
        await asyncio.sleep(chance.uniform(0, START_SECONDS))
        await node.kill()
    await node.start()


def _fault(name: str, about: str) -> Fault[Site]:
    return Fault(name, about, short=SHORT, full=FULL, cuts_clients=True, happens_often=True, last=_kill_often)


ALONE = Place("kills", alone, [_fault("kills-alone", f"{FULL} kills of a node on SQLite")])
TWO_NODES = Place("kills of two", two_nodes, [_fault("kills-two-nodes", f"{FULL} kills of two nodes, one at a time")])
