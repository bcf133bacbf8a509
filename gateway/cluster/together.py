"""What nodes know together, built for one process or for several."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.auth.throttle import LoginThrottle, Throttle
from gateway.clock import Clock
from gateway.cluster.burial import Burial
from gateway.cluster.ledger import Ledger
from gateway.cluster.link import Link
from gateway.cluster.nodes import Nodes
from gateway.cluster.rates import MakeBuckets, SharedRates, own_buckets
from gateway.cluster.roster import AloneRoster, Roster, SharedRoster
from gateway.cluster.throttle import SharedThrottle
from gateway.cluster.url import MEMORY
from gateway.settings import Settings
from gateway.store.engine import Database


@dataclass(frozen=True)
class Together:
    """Who is connected, and what everybody may still do: of all nodes, as far as this one can know."""

    roster: Roster
    buckets: MakeBuckets
    throttle: LoginThrottle


@asynccontextmanager
async def together(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[Together]:
    """Build it for the bus that the settings name: in this process, or in the Redis that all nodes share."""
    if settings.bus_url == MEMORY:
        roster = AloneRoster(settings.max_connections_per_user, settings.max_connections_per_address)
        yield Together(roster, own_buckets, Throttle(settings, clock))
        return
    async with _shared(settings, database, clock) as shared:
        yield shared


@asynccontextmanager
async def _shared(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[Together]:
    from gateway.cluster import client  # what this needs is there only where there is such a bus

    connected = client.connect(settings)
    link = Link(connected, client.FAILURES)
    prefix = settings.bus_prefix
    nodes = Nodes(link, prefix, settings.node_lease_seconds, clock)
    ledger = Ledger(link, nodes, prefix)
    roster = SharedRoster(ledger, settings.max_connections_per_user, settings.max_connections_per_address)
    burial = Burial(link, nodes, prefix, database, roster.tell, clock)
    rates = SharedRates(link, prefix)
    throttle = SharedThrottle(link, prefix, settings, Throttle(settings, clock))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close, connected)
        ledger.start(roster.changed)
        stack.push_async_callback(ledger.close)
        await nodes.start(ledger.begin_life, burial.go_on)
        stack.push_async_callback(nodes.close)
        rates.start()
        stack.push_async_callback(rates.close)
        yield Together(roster, rates.buckets, throttle)
