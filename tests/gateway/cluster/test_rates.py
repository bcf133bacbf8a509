"""The rate limits of a user, on any nodes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.bus import redis_client
from gateway.bus.redis_commands import RedisCommands
from gateway.cluster.rates import SharedRates
from gateway.core.rate_limits import TokenBuckets
from gateway.testing import Gateway, settings_for_tests
from tests.gateway.cluster.conftest import RunNodes
from tests.gateway.connections.test_registry import pings
from tests.support.client import App
from tests.support.valkey import Valkey
from tests.support.waiting import until


@pytest.fixture
async def link(tmp_path: Path, shared_valkey: Valkey) -> AsyncIterator[RedisCommands]:
    connected = redis_client.connect(settings_for_tests(tmp_path, bus_url=shared_valkey.url))
    yield RedisCommands(connected, redis_client.FAILURES)
    await redis_client.close(connected)


def taken(buckets: TokenBuckets, at_most: int, now: float) -> int:
    return sum(buckets.take("bob", now) == 0 for _ in range(at_most))


async def test_what_one_node_has_let_through_the_other_knows_when_both_have_settled(
    link: RedisCommands, prefix: str
) -> None:
    one, other = SharedRates(link, prefix), SharedRates(link, prefix)
    here, there = (rates.buckets("things", 1, 100) for rates in (one, other))
    assert taken(here, 90, now=0) == 90
    assert taken(there, 5, now=0) == 5
    await one.settle()
    await other.settle()
    assert 5 <= taken(there, 100, now=0) <= 8  # what is left, and what has come in the second since
    await other.settle()
    assert taken(here, 100, now=0) == 10  # it has not learned of it yet
    await one.settle()
    assert taken(here, 1, now=0.5) == 0
    assert taken(here, 1, now=8) == 0  # what both have allowed is paid first
    assert taken(here, 1, now=15) == 1


async def test_a_user_on_one_node_is_let_do_what_one_process_would(link: RedisCommands, prefix: str) -> None:
    rates = SharedRates(link, prefix)
    buckets = rates.buckets("things", 100_000, 100_000)
    for _ in range(5):
        assert taken(buckets, 20_000, now=0) == 20_000
        await rates.settle()
    assert buckets.take("bob", now=0) > 0


async def test_what_costs_more_is_settled_for_as_that_and_what_is_given_back_is_not(
    link: RedisCommands, prefix: str
) -> None:
    one, other = SharedRates(link, prefix), SharedRates(link, prefix)
    here, there = (rates.buckets("things", 0.001, 100) for rates in (one, other))
    bucket = here.get("bob", 0)
    assert bucket.take(0, 30) == 0
    bucket.spend(0, 20.5)
    bucket.spend(0, -40.5)
    assert bucket.take(0, 40) == 0
    await one.settle()
    assert taken(there, 1, now=0) == 1
    await other.settle()
    assert taken(there, 100, now=0) == 49


async def test_less_than_a_tenth_of_a_seconds_share_is_not_told_but_not_forgotten(
    link: RedisCommands, prefix: str
) -> None:
    one, other = SharedRates(link, prefix), SharedRates(link, prefix)
    here, there = (rates.buckets("things", 50, 100) for rates in (one, other))
    for _ in range(4):
        here.take("bob", 0)
        await one.settle()
    assert await link.execute([("EXISTS", f"{prefix}:rate:things:bob")]) == [0]
    here.take("bob", 0)
    await one.settle()
    assert await link.execute([("EXISTS", f"{prefix}:rate:things:bob")]) == [1]
    assert taken(there, 200, now=0) == 100


async def test_a_user_on_two_nodes_sends_as_much_as_on_one(
    run_nodes: RunNodes, link: RedisCommands, prefix: str
) -> None:
    nodes = run_nodes(message_rate_per_user=0.001, message_burst=5)
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        async with here.connect("bob") as phone, there.connect("bob") as laptop:
            assert await pings(phone, 3) == 3
            await until(lambda: reported(link, prefix, 3))
            assert await pings(laptop, 1) == 1
            await until(lambda: tokens_at(nodes[1]) < 2)
            # A separate node would allow four more.
            assert await pings(laptop, 5) == 1


async def reported(link: RedisCommands, prefix: str, taken: int) -> bool:
    """Return whether a node has told Redis what it let through, of 5."""
    [keys] = await link.execute([("KEYS", f"{prefix}:rate:messages-of:*")])
    [tokens] = await link.execute([("HGET", keys[0], "tokens")]) if keys else [5]
    return float(tokens) < 5.5 - taken


def tokens_at(node: Gateway) -> float:
    """Return the tokens that the only user has left, as far as the node knows."""
    [bucket] = node.state.connections._messages_of_users._all.values()
    return bucket._tokens


async def test_each_node_keeps_to_the_limit_by_itself_while_redis_is_down(run_nodes: RunNodes, valkey: Valkey) -> None:
    [node] = run_nodes(valkey, count=1, message_rate_per_user=5, message_burst=5)
    valkey.stop()
    async with App(node) as app, app.connect("bob") as ben:
        assert 5 <= await pings(ben, 20) <= 10
        assert (await ben.refused("ping"))["status"] == 42900
