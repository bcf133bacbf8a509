"""Which worker gets a message: on one node, on several, and when some of them go away."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.cluster.node_calls import NodeCalls
from gateway.routes.model import Route
from gateway.testing import Gateway
from gateway.upstream.deadlines import Deadlines, now
from handlers.errors import UpstreamFailed, UpstreamTimeout
from tests.conftest import OwnGateway
from tests.gateway.cli.command import serving
from tests.support.client import App
from tests.support.nodes import SECRET, running_nodes
from tests.support.services import add_service
from tests.support.valkey import Valkey, running_valkey
from tests.support.waiting import until
from tests.support.workers import LONG, ORDERS, Worker, call, use_routes, worker

LEASE_SECONDS = 1.0
OTHER = Route("other.*")


@pytest.fixture
def gateway(own_gateway: OwnGateway) -> Gateway:
    """A gateway with routes for workers."""
    gateway = own_gateway()
    use_routes(gateway, ORDERS, OTHER)
    return gateway


@pytest.fixture(scope="module")
def shared_valkey() -> Iterator[Valkey]:
    """A Valkey that no test stops."""
    with running_valkey() as running:
        yield running


@pytest.fixture
def nodes(
    tmp_path: Path, store_url: str, shared_valkey: Valkey, unique: Callable[[str], str]
) -> Iterator[list[Gateway]]:
    """Two nodes with routes for workers, which know each other."""
    changes: dict[str, Any] = {"bus_prefix": unique("prefix"), "node_lease_seconds": LEASE_SECONDS}
    with running_nodes(tmp_path, store_url, shared_valkey, **changes) as running:
        for node in running:
            use_routes(node, ORDERS, OTHER)
        yield running


async def answer_all(connected: Worker, name: str) -> None:
    """Answer every message with the worker's name."""
    while True:
        await connected.answer_one(by=name)


async def heard_of(asking: Gateway, *, parallel: int, route: Route = ORDERS) -> None:
    """Wait until a node knows what the workers of the others take."""
    workers, key = asking.state.workers, (route.pattern, route.service)
    await until(lambda: sum(capacity[key] for capacity in workers._remote.values()) == parallel)


async def test_several_workers_share_the_load_evenly(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with AsyncExitStack() as stack:
        connected = [await stack.enter_async_context(worker(gateway, "orders.*", key=key)) for _ in range(3)]
        tasks = [asyncio.create_task(answer_all(each, str(number))) for number, each in enumerate(connected)]
        answers = [await call(gateway) for _ in range(9)]
        assert Counter(answer["data"]["by"] for answer in answers) == {"0": 3, "1": 3, "2": 3}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_the_least_busy_worker_gets_a_message(gateway: Gateway) -> None:
    key = await add_service(gateway, "orders", "api:serve")
    async with (
        worker(gateway, "orders.*", key=key, parallel=2) as small,
        worker(gateway, "orders.*", key=key, parallel=6) as large,
    ):
        calls = [asyncio.create_task(call(gateway, number=number)) for number in range(8)]
        of_small = [await small.message() for _ in range(2)]
        of_large = [await large.message() for _ in range(6)]
        for connected, got in ((small, of_small), (large, of_large)):
            for id_, body in got:
                await connected.reply(id_, data=body)
        assert [(await each)["data"]["number"] for each in calls] == list(range(8))


async def test_a_message_waits_for_a_free_place_and_the_first_comes_first(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=1) as orders:
        calls = []
        for number in range(4):
            calls.append(asyncio.create_task(call(gateway, number=number)))
            await until(lambda: gateway.state.workers.figures.waiting == max(0, len(calls) - 1))
        for number in range(4):
            assert await orders.answer_one() == {"number": number}
        await asyncio.gather(*calls)


async def test_a_message_that_waits_too_long_is_never_sent(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=1) as orders:
        first = asyncio.create_task(call(gateway, number=1))
        id_, _ = await orders.message()
        with pytest.raises(UpstreamTimeout):
            await call(gateway, seconds=0.02, number=2)
        await orders.reply(id_, data=1)
        await first
        await orders.expect_nothing()
        assert gateway.state.workers._waiting == {}


async def test_no_route_of_a_worker_starves_another(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", "other.*", parallel=1) as both:
        first = asyncio.create_task(call(gateway))
        id_, _ = await both.message()
        waiting = [asyncio.create_task(call(gateway, ORDERS, of=1)) for _ in range(3)]
        await until(lambda: gateway.state.workers.figures.waiting == 3)
        waiting.append(asyncio.create_task(call(gateway, OTHER, of=2)))
        await until(lambda: gateway.state.workers.figures.waiting == 4)
        await both.reply(id_, data=1)
        got = [await both.answer_one() for _ in range(4)]
        assert {"of": 2} in got[:2]
        await asyncio.gather(first, *waiting)


async def test_a_silent_worker_comes_after_the_others_until_it_answers(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.worker.FIRST_REST_SECONDS", 60.0)
    monkeypatch.setattr("gateway.upstream.worker.LAST_REST_SECONDS", 60.0)
    key = await add_service(gateway, "orders", "api:serve")
    async with worker(gateway, "orders.*", key=key, parallel=4) as silent:
        with pytest.raises(UpstreamTimeout):
            await call(gateway, seconds=0.01)
        await silent.expect("route.message")
        async with worker(gateway, "orders.*", key=key, parallel=4) as quick:
            task = asyncio.create_task(answer_all(quick, "quick"))
            for _ in range(5):
                assert await call(gateway) == {"data": {"by": "quick"}}
            task.cancel()
            await asyncio.wait([task])
        await until(lambda: gateway.state.workers.figures.connections == 1)
        await silent.expect("route.cancel")
        answer = asyncio.create_task(call(gateway))
        await silent.answer_one(by="silent")
        assert await answer == {"data": {"by": "silent"}}


async def test_a_silent_worker_gets_one_message_at_a_time_until_it_answers(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=4) as silent:
        late = [call(gateway, seconds=0.05) for _ in range(4)]
        assert {type(each) for each in await asyncio.gather(*late, return_exceptions=True)} == {UpstreamTimeout}
        await silent.until(type="route.cancel")
        calls = []
        for number in range(3):
            calls.append(asyncio.create_task(call(gateway, number=number)))
            await until(lambda: gateway.state.workers.figures.waiting == max(0, len(calls) - 1))
        id_, body = await take(silent)
        while body != {"number": 0}:
            id_, body = await take(silent)
        await silent.reply(id_, data="first")
        ids = [(await take(silent))[0] for _ in range(2)]  # both at once
        for id_ in ids:
            await silent.reply(id_, data="more")
        assert [(await each)["data"] for each in calls] == ["first", "more", "more"]


async def test_the_metrics_count_workers_and_their_messages(gateway: Gateway) -> None:
    async with worker(gateway, "orders.*", parallel=2) as orders:
        calls = [asyncio.create_task(call(gateway)) for _ in range(3)]
        await until(lambda: gateway.state.workers.figures.waiting == 1)
        async with App(gateway) as app:
            lines = (await app.http.get("/metrics")).text
        for name, value in (("workers", 1), ("worker_places", 2), ("worker_messages_open", 2)):
            assert f"gateway_{name} {value:.1f}" in lines
        assert "gateway_worker_messages_waiting 1.0" in lines
        for _ in calls:
            await orders.answer_one()
        await asyncio.gather(*calls)


async def test_any_order_of_arrivals_answers_and_ends_loses_and_mixes_nothing(gateway: Gateway) -> None:
    """Workers come and go while messages are under way: each gets its own answer, or fails."""
    key = await add_service(gateway, "orders", "api:serve")
    chance = random.Random(7)

    async def serve(number: int) -> None:
        async with worker(gateway, "orders.*", key=key, parallel=1 + number % 3) as connected:
            for turn in range(20 + number):
                id_, body = await take(connected)
                if turn % 7 != number % 7:
                    await connected.reply(id_, data=body)
                else:
                    await connected.reply(id_, data=body, mood=1)

    async def ask(number: int) -> str:
        seconds = chance.choice([LONG, LONG, LONG, chance.random() / 50])
        try:
            assert await call(gateway, seconds=seconds, number=number) == {"data": {"number": number}}
        except UpstreamFailed:
            return "failed"
        except UpstreamTimeout:
            return "late"
        return "answered"

    async with worker(gateway, "orders.*", key=key, parallel=1) as last:
        serving = [asyncio.create_task(serve(number)) for number in range(6)]
        await until(lambda: gateway.state.workers.figures.connections == 7)
        echoing = asyncio.create_task(echo(last))
        outcomes = await asyncio.wait_for(asyncio.gather(*(ask(number) for number in range(400))), LONG)
        assert outcomes.count("answered") > 200
        assert outcomes.count("late") > 10
        assert outcomes.count("failed") > 10
        figures = gateway.state.workers.figures
        assert (figures.busy, figures.waiting, gateway.state.workers._waiting) == (0, 0, {})
        for task in (*serving, echoing):
            task.cancel()
        await asyncio.wait([*serving, echoing])


async def take(connected: Worker) -> tuple[str, Any]:
    """Take the next message, and ignore all frames before it."""
    frame = await connected.until(type="route.message")
    return frame["id"], frame["data"]


async def echo(connected: Worker) -> None:
    """Answer every message with itself."""
    while True:
        id_, body = await take(connected)
        await connected.reply(id_, data=body)


@pytest.mark.server
async def test_a_worker_of_another_node_gets_a_message(nodes: list[Gateway]) -> None:
    here, there = nodes
    async with worker(there, "orders.*", parallel=2) as orders:
        await heard_of(here, parallel=2)
        answer = asyncio.create_task(call(here, text="über ☃", number=1.5))
        id_, body = await orders.message()
        assert body == {"text": "über ☃", "number": 1.5}
        await orders.reply(id_, data=body, effects=[{"disconnect": {}}])
        assert await answer == {"data": body, "effects": [{"disconnect": {}}]}
        answer = asyncio.create_task(call(here))
        id_, _ = await orders.message()
        await orders.reply(id_, mood="wrong")
        await orders.expect("error", status=42200)
        with pytest.raises(UpstreamFailed):
            await answer
        with pytest.raises(UpstreamTimeout):
            await call(here, seconds=0.05)


@pytest.mark.server
async def test_a_message_that_nobody_waits_for_is_cancelled_on_another_node_too(nodes: list[Gateway]) -> None:
    here, there = nodes
    async with worker(there, "orders.*", parallel=1) as orders:
        await heard_of(here, parallel=1)
        sending = asyncio.create_task(call(here))
        id_, _ = await orders.message()
        sending.cancel()
        await orders.expect("route.cancel", id=id_)
        answer = asyncio.create_task(call(here))
        await orders.answer_one(next=True)
        assert await answer == {"data": {"next": True}}


@pytest.mark.server
async def test_a_message_that_is_cancelled_again_and_again_frees_its_place_at_the_other_node(
    nodes: list[Gateway],
) -> None:
    here, there = nodes
    async with worker(there, "orders.*", parallel=1) as orders:
        await heard_of(here, parallel=1)

        async def cancel_again_and_again() -> None:
            asked = here.state.workers._asked
            message = here.state.workers.transport(ORDERS).stream(b"{}", "msg_1", {}, Deadlines(now() + LONG, LONG))
            sending = asyncio.ensure_future(anext(message))
            await until(lambda: asked)
            while not sending.done():
                sending.cancel()
                await asyncio.sleep(0)
            assert not asked

        await here.run(cancel_again_and_again())
        echoing = asyncio.create_task(echo(orders))
        assert await call(here, number=1) == {"data": {"number": 1}}
        echoing.cancel()
        await asyncio.wait([echoing])


@pytest.mark.server
async def test_workers_on_all_nodes_share_the_load(nodes: list[Gateway]) -> None:
    here, there = nodes
    key = await add_service(here, "orders", "api:serve")
    async with (
        worker(here, "orders.*", key=key, parallel=2) as near,
        worker(there, "orders.*", key=key, parallel=2) as far,
    ):
        await heard_of(here, parallel=2)
        calls = [asyncio.create_task(call(here, number=number)) for number in range(5)]
        got = [(each, await each.message()) for each in (near, near, far, far)]
        await until(lambda: here.state.workers.figures.waiting == 1)
        for each, (id_, body) in got:
            await each.reply(id_, data=body)
        task = [asyncio.create_task(echo(each)) for each in (near, far)]
        assert [(await each)["data"]["number"] for each in calls] == list(range(5))
        for each_task in task:
            each_task.cancel()
        await asyncio.wait(task)


@pytest.mark.server
async def test_two_nodes_that_use_the_same_worker_do_not_overload_it(nodes: list[Gateway]) -> None:
    here, there = nodes
    async with worker(there, "orders.*", parallel=2) as orders:
        await heard_of(here, parallel=2)
        calls = [asyncio.create_task(call(node, number=1)) for node in (here, there) for _ in range(3)]
        ids = [(await orders.message())[0] for _ in range(2)]
        await orders.expect_nothing()
        for id_ in ids:
            await orders.reply(id_, data=1)
        for _ in range(4):
            await orders.answer_one()
        await asyncio.gather(*calls)


@pytest.mark.server
async def test_a_worker_of_another_node_that_goes_away_costs_its_messages_at_once(nodes: list[Gateway]) -> None:
    here, there = nodes
    async with worker(there, "orders.*", parallel=2) as orders:
        await heard_of(here, parallel=2)
        answer = asyncio.create_task(call(here))
        await orders.message()
        orders.ws.transport.abort()
        with pytest.raises(UpstreamFailed) as failed:
            await asyncio.wait_for(answer, LONG / 4)
        assert failed.value.reason == "the worker has gone away"
    await heard_of(here, parallel=0)
    with pytest.raises(UpstreamFailed):
        await asyncio.wait_for(call(here), LONG / 4)


@pytest.mark.server
async def test_a_stale_announcement_costs_nothing(nodes: list[Gateway]) -> None:
    """A node that has just lost its last worker says so, and the message goes to another."""
    here, there = nodes
    key = await add_service(here, "orders", "api:serve")
    async with worker(here, "orders.*", key=key, parallel=1) as near:
        first = asyncio.create_task(call(here))
        id_, _ = await near.message()
        here.loop.call_soon_threadsafe(
            here.state.workers._on_capacity,
            there.state.node_calls.own_id,
            {"workers": [["orders.*", "orders", 5]]},
        )
        second = asyncio.create_task(call(here, number=2))
        await until(lambda: here.state.workers.figures.waiting == 1)
        await near.reply(id_, data=1)
        await first
        assert await near.answer_one() == {"number": 2}
        await second


@pytest.mark.server
async def test_an_announcement_of_a_node_that_is_gone_costs_nothing(nodes: list[Gateway]) -> None:
    here, there = nodes
    async with worker(there, "orders.*") as orders:
        await heard_of(here, parallel=16)
        gone = "0123456789abcdef"
        here.loop.call_soon_threadsafe(here.state.workers._on_capacity, gone, {"workers": [["orders.*", "orders", 5]]})
        for number in range(3):
            answer = asyncio.create_task(call(here, number=number))
            assert await orders.answer_one() == {"number": number}
            await answer
        assert gone not in here.state.workers._remote


@pytest.mark.server
async def test_a_node_that_ends_takes_its_workers_along(
    tmp_path: Path, store_url: str, shared_valkey: Valkey, unique: Callable[[str], str]
) -> None:
    changes: dict[str, Any] = {"bus_prefix": unique("prefix"), "node_lease_seconds": 30}
    async with AsyncExitStack() as ending:
        (here,) = ending.enter_context(running_nodes(tmp_path / "here", store_url, shared_valkey, count=1, **changes))
        use_routes(here, ORDERS)
        with running_nodes(tmp_path / "there", store_url, shared_valkey, count=1, **changes) as (there,):
            use_routes(there, ORDERS)
            orders = await ending.enter_async_context(worker(there, "orders.*"))
            await heard_of(here, parallel=16)
            answer = asyncio.create_task(call(here))
            await orders.message()
        with pytest.raises(UpstreamFailed):
            await asyncio.wait_for(answer, LONG / 4)
        with pytest.raises(UpstreamFailed):
            await asyncio.wait_for(call(here), LONG / 4)


@pytest.mark.server
async def test_a_node_that_dies_costs_its_messages_their_time(nodes: list[Gateway]) -> None:
    here, there = nodes
    async with worker(there, "orders.*") as orders:
        await heard_of(here, parallel=16)
        answer = asyncio.create_task(call(here, seconds=0.3))
        await orders.message()
        mute(there.state.node_calls)
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(answer, LONG / 4)
        await heard_of(here, parallel=0)  # after the lease
        with pytest.raises(UpstreamFailed):
            await asyncio.wait_for(call(here), LONG / 4)


@pytest.mark.server
async def test_a_node_that_is_killed_costs_its_messages_their_time_and_its_workers_come_to_another(
    tmp_path: Path, store_url: str, shared_valkey: Valkey, unique: Callable[[str], str]
) -> None:
    prefix, routes = unique("prefix"), tmp_path / "routes.toml"
    routes.write_text('[routes."orders.*"]\nworker = true\n')
    changes: dict[str, Any] = {"bus_prefix": prefix, "node_lease_seconds": LEASE_SECONDS, "routes": str(routes)}
    variables: dict[str, Any] = {
        "GATEWAY_DATABASE_URL": store_url,
        "GATEWAY_BUS_URL": shared_valkey.url,
        "GATEWAY_BUS_PREFIX": prefix,
        "GATEWAY_SECRET_KEY": SECRET,
        "GATEWAY_NODE_LEASE_SECONDS": str(LEASE_SECONDS),
        "GATEWAY_ROUTES": str(routes),
    }
    with (
        running_nodes(tmp_path, store_url, shared_valkey, count=1, **changes) as (here,),
        serving(tmp_path, **variables) as victim,
    ):
        key = await add_service(here, "orders", "api:serve")
        async with worker(cast(Gateway, victim), "orders.*", key=key) as orders:
            await heard_of(here, parallel=16)
            open_ = [asyncio.create_task(call(here, seconds=1.0)) for _ in range(3)]
            for _ in open_:
                await orders.message()
            await asyncio.to_thread(victim.stop, signal.SIGKILL)
            outcomes = await asyncio.wait_for(asyncio.gather(*open_, return_exceptions=True), LONG / 4)
            # A message fails at once if the others know already that the node is gone.
            assert {type(outcome) for outcome in outcomes} <= {UpstreamTimeout, UpstreamFailed}
        async with worker(here, "orders.*", key=key) as orders:
            answer = asyncio.create_task(call(here))
            await orders.answer_one(after=True)
            assert await answer == {"data": {"after": True}}


def mute(calls: NodeCalls) -> None:
    """Let a node say nothing more, as one that was killed."""
    calls._send = lambda *_: False  # type: ignore[method-assign]


@pytest.mark.server
async def test_a_message_that_is_too_long_for_the_bus_fails(nodes: list[Gateway]) -> None:
    here, there = nodes
    async with worker(there, "orders.*") as orders:
        await heard_of(here, parallel=16)
        with pytest.raises(UpstreamFailed):
            await asyncio.wait_for(call(here, text="x" * 300_000), LONG / 4)
        answer = asyncio.create_task(call(here))
        id_, _ = await orders.message()
        await orders.reply(id_, data="x" * (256 * 1024 - 80))
        assert len((await answer)["data"]) == 256 * 1024 - 80  # the longest answer that a worker can send


@pytest.mark.server
async def test_without_the_bus_only_the_own_workers_serve(tmp_path: Path, store_url: str, valkey: Valkey) -> None:
    with running_nodes(tmp_path, store_url, valkey, node_lease_seconds=30) as (here, there):
        for node in (here, there):
            use_routes(node, ORDERS)
        key = await add_service(here, "orders", "api:serve")
        async with worker(there, "orders.*", key=key) as orders:
            await heard_of(here, parallel=16)
            valkey.stop()
            await until(lambda: not here.state.bus.is_up)
            with pytest.raises(UpstreamFailed) as failed:
                await asyncio.wait_for(call(here), LONG / 4)
            assert "the bus is down" in failed.value.reason
            answer = asyncio.create_task(call(there))
            await orders.answer_one(near=True)
            assert await answer == {"data": {"near": True}}
            valkey.start()
            await until(lambda: here.state.bus.is_up and there.state.bus.is_up)
            answer = asyncio.create_task(call(here))
            await orders.answer_one(far=True)
            assert await answer == {"data": {"far": True}}


@pytest.mark.server
async def test_only_the_named_service_serves_on_another_node(nodes: list[Gateway]) -> None:
    here, there = nodes
    ours = Route("orders.*", service="warehouse")
    async with worker(there, "orders.*") as orders:
        await heard_of(here, parallel=16)
        with pytest.raises(UpstreamFailed):
            await call(here, ours)
        await orders.expect_nothing()
