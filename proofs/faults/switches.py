"""Switches of PostgreSQL: two nodes on a primary and a standby that has each commit before it is acknowledged.

The nodes know both addresses. Each fault ends the primary in its own way, and the standby takes over. The next fault
begins with a new standby in the old one's place.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.rig import temporary_folder
from proofs.faults.fault import Fault, Place
from proofs.faults.links import server_on
from proofs.faults.site import Site, running_nodes
from tests.support.network import Network, running_network
from tests.support.postgres import Postgres, query, running_postgres
from tests.support.valkey import running_valkey

SETTLED_SECONDS = 30.0
PROMOTED_AFTER_SECONDS = 1.0
"""How long a cluster manager takes to notice, at the least."""

DATABASE = "postgres"


@dataclass
class Pair(Site):
    """Two nodes, and two servers of PostgreSQL."""

    network: Network
    stack: ExitStack
    primary: Postgres
    standby: Postgres

    async def switch(self) -> None:
        """Let the standby take over."""
        await asyncio.sleep(PROMOTED_AFTER_SECONDS)
        await self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    async def follow_anew(self) -> None:
        """Make a new standby in the place of the old one, unless it follows."""
        if await self._follows():
            return
        old = self.standby
        await asyncio.to_thread(old.stop)
        # A context of threads would end there, too.
        self.standby = self.stack.enter_context(
            running_postgres(sync=True, primary=self.primary, machine=old.machine, port=old.port)
        )
        await self.settle()

    async def settle(self) -> None:
        """Make the primary wait for the standby at each commit."""
        url = self.primary.url(DATABASE)
        await query(url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        await query(url, "SELECT pg_reload_conf()")
        async with asyncio.timeout(SETTLED_SECONDS):
            while not await self._follows():  # noqa: ASYNC110 - PostgreSQL has no sign of it
                await asyncio.sleep(0.1)

    async def _follows(self) -> bool:
        rows = await query(self.primary.url(DATABASE), "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
        return bool(rows)


@asynccontextmanager
async def primary_and_standby(faults: Sequence[str]) -> AsyncIterator[Pair]:
    """Start everything."""
    with ExitStack() as stack:
        network = stack.enter_context(running_network())
        primary = stack.enter_context(running_postgres(sync=True, machine=network.machine()))
        standby = stack.enter_context(running_postgres(sync=True, primary=primary, machine=network.machine()))
        bus = stack.enter_context(running_valkey(machine=network.machine()))
        places = ",".join(f"{server.machine.address}:{server.port}" for server in (primary, standby))
        url = f"postgresql://postgres@{places}/{DATABASE}"
        servers = [server_on(network.machine(), stack.enter_context(temporary_folder()), url, bus.url) for _ in "12"]
        async with running_nodes(servers, url, faults) as site:
            pair = Pair(site.nodes, site.url, site.people, site.prober, network, stack, primary, standby)
            await pair.settle()
            yield pair


async def _not_promoted(site: Pair) -> str:
    """Doubt the fault if the standby has not become the primary."""
    [found] = await query(site.primary.url(DATABASE), "SELECT pg_is_in_recovery()")
    return "the standby still follows" if found[0] else ""


async def _killed(site: Pair) -> None:
    await site.follow_anew()
    await asyncio.to_thread(site.primary.stop)
    await site.switch()


async def _cut_off(site: Pair) -> None:
    """Take the primary's link down; the operator fences it before the link comes back."""
    await site.follow_anew()
    await asyncio.to_thread(site.network.unplug, site.primary.machine)
    await site.switch()


async def _fenced(site: Pair) -> None:
    await asyncio.to_thread(site.standby.stop)
    await asyncio.to_thread(site.network.mend)


async def _demoted(site: Pair) -> None:
    """Stop the primary in order, and let it come back at once as a standby that answers."""
    await site.follow_anew()
    await asyncio.to_thread(site.primary.stop_in_order)
    await site.switch()
    site.standby.follow(site.primary)
    await asyncio.to_thread(site.standby.start)


PLACE = Place(
    "switches",
    primary_and_standby,
    [
        Fault("switch-killed", "the primary is killed, and the standby takes over", _killed, doubt=_not_promoted),
        Fault("switch-demoted", "the old primary comes back as a standby, and answers", _demoted, doubt=_not_promoted),
        Fault(
            "switch-cut-off",
            "the primary's link is down, and the standby takes over",
            _cut_off,
            _fenced,
            doubt=_not_promoted,
        ),
    ],
)
