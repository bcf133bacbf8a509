"""One Valkey for all tests here, which differ by their prefixes; gateways, and the parts that make one a node."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from gateway.bus import redis_client
from gateway.bus.redis_commands import RedisCommands
from gateway.cluster.nodes import Nodes
from gateway.cluster.roster import SharedRoster
from gateway.cluster.shared_state import SharedState
from gateway.core.clock import SystemClock
from gateway.testing import Gateway, settings_for_tests
from tests.gateway.cli.command import Served, serving
from tests.support.nodes import SECRET, running_nodes
from tests.support.valkey import Valkey, running_valkey
from tests.support.waiting import until

LEASE_SECONDS = 1.0

_numbers = itertools.count(1)


class Node:
    """The presence that one node knows, without the rest of a gateway.

    Its changes are (room, user, state), and those with a custom state (room, user, state, custom state).
    """

    def __init__(self, link: RedisCommands, prefix: str, max_per_user: int) -> None:
        self.link = link
        self.nodes = Nodes(link, prefix, LEASE_SECONDS, SystemClock())
        self.shared_state = SharedState(link, self.nodes, prefix)
        self.roster = SharedRoster(self.shared_state, max_per_user, 0)
        self.roster.on_change(lambda *news: self.news.append(news if news[3] else news[:3]))
        self.news: list[tuple[str | None, ...]] = []
        self.buried: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        async with (
            self.shared_state.running(self.roster.on_written),
            self.nodes.running(self.shared_state.republish, self._reap),
        ):
            yield self

    async def up(self) -> None:
        """Wait until Redis is available."""
        await until(lambda: self.link.is_up)

    async def settled(self) -> None:
        """Wait until all changes are written and announced."""
        await until(lambda: not self.shared_state.unwritten and self.roster._reports.is_idle)

    async def _reap(self, node: str, _: float) -> bool:
        self.buried.append(node)
        return False


RunNode = Callable[..., AbstractAsyncContextManager[Node]]
RunNodes = Callable[..., list[Gateway]]


@pytest.fixture(scope="session")
def shared_valkey() -> Iterator[Valkey]:
    """A Valkey that no test stops."""
    with running_valkey() as running:
        yield running


@pytest.fixture
def prefix() -> str:
    """A prefix for this test."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def run_node(tmp_path: Path, prefix: str, shared_valkey: Valkey) -> RunNode:
    """Run a node that is not a gateway."""

    @asynccontextmanager
    async def run(
        valkey: Valkey | str = shared_valkey, *, prefix: str = prefix, max_per_user: int = 0
    ) -> AsyncIterator[Node]:
        url = valkey if isinstance(valkey, str) else valkey.url
        connected = redis_client.connect(settings_for_tests(tmp_path, bus_url=url))
        node = Node(RedisCommands(connected, redis_client.FAILURES), prefix, max_per_user)
        try:
            async with node.running():
                yield node
        finally:
            await redis_client.close(connected)

    return run


@pytest.fixture
def run_nodes(tmp_path: Path, store_url: str, prefix: str, shared_valkey: Valkey) -> Iterator[RunNodes]:
    """Run gateways that form one: `run_nodes(valkey, count=…, any_setting=…)`."""
    with ExitStack() as stack:

        def run(valkey: Valkey | str = shared_valkey, *, count: int = 2, **changes: Any) -> list[Gateway]:
            settings = {"bus_prefix": prefix, "node_lease_seconds": LEASE_SECONDS} | changes
            return stack.enter_context(running_nodes(tmp_path, store_url, valkey, count=count, **settings))

        yield run


@pytest.fixture
def victim(tmp_path: Path, store_url: str, prefix: str, shared_valkey: Valkey) -> Iterator[Served]:
    """A gateway in its own process, beside those of `run_nodes`."""
    variables: dict[str, Any] = {
        "GATEWAY_DATABASE_URL": store_url,
        "GATEWAY_BUS_URL": shared_valkey.url,
        "GATEWAY_BUS_PREFIX": prefix,
        "GATEWAY_SECRET_KEY": SECRET,
        "GATEWAY_NODE_LEASE_SECONDS": str(LEASE_SECONDS),
    }
    with serving(tmp_path, **variables) as served:
        yield served
