"""Failovers of the bus: two nodes on a Valkey with a replica, and three sentinels that watch them.

A partition leaves the old primary to one node, while the other one and the sentinels already use the new primary.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.rig import temporary_folder
from proofs.faults.fault import Fault, Place
from proofs.faults.links import Links, server_on
from proofs.faults.site import running_nodes
from tests.support.network import Machine, running_network
from tests.support.postgres import fresh_database, running_postgres
from tests.support.valkey import Valkey, running_sentinel, running_valkey

SERVICE = "main"
DOWN_MS = 1000
SENTINELS = 3
QUORUM = 2
SETTLED_SECONDS = 30.0


@dataclass
class Watched(Links):
    """Two nodes, whose bus sentinels may move from one of two servers to the other."""

    servers_of_bus: Sequence[Valkey]
    sentinels: Sequence[Valkey]
    lost: Valkey | None = None
    """The primary that a fault has struck."""

    async def primary(self) -> Valkey:
        """Return the server that is the primary, once the other one follows it and all sentinels know both."""
        async with asyncio.timeout(SETTLED_SECONDS):
            while True:
                for server in self.servers_of_bus:
                    role = await asyncio.to_thread(server.ask, "INFO replication")
                    if "role:master" in role and "connected_slaves:1" in role and await self._is_known(server):
                        return server
                await asyncio.sleep(0.1)

    async def _is_known(self, server: Valkey) -> bool:
        for sentinel in self.sentinels:
            words = (await asyncio.to_thread(sentinel.ask, f"SENTINEL master {SERVICE}")).split("\r\n")
            facts = dict(zip(words[2::4], words[4::4], strict=False))
            known = (facts.get("ip"), facts.get("port"), facts.get("num-slaves"), facts.get("num-other-sentinels"))
            if known != (server.machine.address, str(server.port), "1", str(SENTINELS - 1)):
                return False
        return True


@asynccontextmanager
async def watched_bus(faults: Sequence[str]) -> AsyncIterator[Watched]:
    """Start everything."""
    with ExitStack() as stack:
        network = stack.enter_context(running_network())
        postgres = stack.enter_context(running_postgres(sync=True, machine=network.machine()))
        url = stack.enter_context(fresh_database(postgres.url("postgres")))
        first = stack.enter_context(running_valkey(machine=network.machine()))
        following = ("--replicaof", f"{first.machine.address} {first.port}")
        second = stack.enter_context(running_valkey(*following, machine=network.machine()))
        sentinels = [stack.enter_context(_sentinel(first, network.machine())) for _ in range(SENTINELS)]
        places = ",".join(f"{sentinel.machine.address}:{sentinel.port}" for sentinel in sentinels)
        bus = f"redis+sentinel://{places}/{SERVICE}"
        servers = [server_on(network.machine(), stack.enter_context(temporary_folder()), url, bus) for _ in "12"]
        async with running_nodes(servers, url, faults) as site:
            known = (site.nodes, site.url, site.people, site.prober, network, postgres, first)
            watched = Watched(*known, [first, second], sentinels)
            await watched.primary()
            yield watched


def _sentinel(watched: Valkey, machine: Machine) -> AbstractContextManager[Valkey]:
    return running_sentinel(watched, SERVICE, quorum=QUORUM, down_ms=DOWN_MS, machine=machine)


async def _unmoved(site: Watched) -> str:
    """Doubt the fault if the sentinels still name the primary that it has struck."""
    assert site.lost is not None  # noqa: S101 - the fault has begun
    for sentinel in site.sentinels:
        named = await asyncio.to_thread(sentinel.ask, f"SENTINEL get-master-addr-by-name {SERVICE}")
        if site.lost.machine.address not in named.split():
            return ""
    return "the sentinels have moved nothing"


async def _killed(site: Watched) -> None:
    site.lost = await site.primary()
    await asyncio.to_thread(site.lost.stop)


async def _started(site: Watched) -> None:
    assert site.lost is not None  # noqa: S101 - the fault has begun
    await asyncio.to_thread(site.lost.start)


async def _paused(site: Watched) -> None:
    site.lost = await site.primary()
    site.lost.freeze()


async def _goes_on(site: Watched) -> None:
    assert site.lost is not None  # noqa: S101 - the fault has begun
    site.lost.thaw()


async def _parted(site: Watched) -> None:
    """Leave the primary to the first node alone."""
    site.lost = await site.primary()
    here = site.lost.machine
    others = [server.machine for server in (*site.servers_of_bus, *site.sentinels)] + [site.servers[1].machine]
    for other in others:
        if other != here:
            await asyncio.to_thread(site.network.part, here, other)


async def _mended(site: Watched) -> None:
    await asyncio.to_thread(site.network.mend)


PLACE = Place(
    "sentinels",
    watched_bus,
    [
        Fault(
            "failover-killed",
            "the primary of the bus is killed, and comes back later",
            _killed,
            _started,
            doubt=_unmoved,
        ),
        Fault(
            "failover-paused",
            "it is stopped by SIGSTOP, and goes on as if it still were it",
            _paused,
            _goes_on,
            doubt=_unmoved,
        ),
        Fault("failover-parted", "it is left to one node, apart from all others", _parted, _mended, doubt=_unmoved),
    ],
)
