"""Builds the state that nodes share, for one process or for several."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.auth.throttle import LocalThrottle, LoginThrottle
from gateway.cluster.rates import MakeBuckets, SharedRates, local_buckets
from gateway.cluster.roster import LocalRoster, Roster, SharedRoster
from gateway.config.bus_url import MEMORY
from gateway.config.settings import Settings
from gateway.core.clock import Clock
from gateway.store.engine import Database


@dataclass(frozen=True)
class ClusterFigures:
    """The cluster's numbers for the metrics."""

    nodes: int = 1
    """Nodes that this node regards as alive."""
    shared: bool = True
    """Whether this node knows the state of all nodes."""
    failures: int = 0
    """How often Redis was lost."""
    guesses: int = 0
    """Requests that this node answered from its own numbers while Redis was lost."""
    unwritten: int = 0
    """Subjects with a change that is not in Redis yet."""
    reaped: int = 0
    """Dead nodes that this node has reaped."""
    taken_offline: int = 0
    """Users of dead nodes that this node has taken offline."""


@dataclass(frozen=True)
class ClusterState:
    """The connections and limits of all nodes, as far as this node can know."""

    roster: Roster
    buckets: MakeBuckets
    throttle: LoginThrottle
    figures: Callable[[], ClusterFigures] = ClusterFigures


@asynccontextmanager
async def build_cluster(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[ClusterState]:
    """Build the cluster's state for the configured bus: in this process, or in the Redis that all nodes share."""
    if settings.bus_url == MEMORY:
        roster = LocalRoster(settings.max_connections_per_user, settings.max_connections_per_address)
        yield ClusterState(roster, local_buckets, LocalThrottle(settings, clock))
        return
    async with _shared(settings, database, clock) as shared:
        yield shared


@asynccontextmanager
async def _shared(settings: Settings, database: Database, clock: Clock) -> AsyncIterator[ClusterState]:
    # Only such a gateway has redis-py, and needs these modules.
    from gateway.bus import redis_client
    from gateway.bus.redis_commands import RedisCommands
    from gateway.cluster.dead_nodes import DeadNodeReaper
    from gateway.cluster.nodes import Nodes
    from gateway.cluster.shared_state import SharedState
    from gateway.cluster.throttle import SharedThrottle

    connected = redis_client.connect(settings)
    redis = RedisCommands(connected, redis_client.FAILURES)
    prefix = settings.bus_prefix
    nodes = Nodes(redis, prefix, settings.node_lease_seconds, clock)
    shared_state = SharedState(redis, nodes, prefix)
    roster = SharedRoster(shared_state, settings.max_connections_per_user, settings.max_connections_per_address)
    reaper = DeadNodeReaper(redis, nodes, shared_state, prefix, database, roster, clock)
    rates = SharedRates(redis, prefix)
    throttle = SharedThrottle(redis, prefix, settings, LocalThrottle(settings, clock))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis_client.close, connected)
        await stack.enter_async_context(shared_state.running(roster.on_written))
        await stack.enter_async_context(nodes.running(shared_state.republish, reaper.reap))
        await stack.enter_async_context(rates.running())
        yield ClusterState(
            roster,
            rates.buckets,
            throttle,
            lambda: ClusterFigures(
                nodes=1 + nodes.others,
                shared=redis.is_up,
                failures=redis.failures,
                guesses=roster.guesses,
                unwritten=shared_state.unwritten,
                reaped=nodes.reaped,
                taken_offline=reaper.users_reaped,
            ),
        )
