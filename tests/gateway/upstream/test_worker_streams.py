"""Streams of workers on their way to a client: on one node, and from another one."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.base import NodeMessage
from gateway.core import faults
from gateway.testing import Gateway
from gateway.upstream import open_message
from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import routing, table
from tests.support.client import App
from tests.support.nodes import running_nodes
from tests.support.streams import answer_of, start
from tests.support.valkey import running_valkey
from tests.support.waiting import until
from tests.support.workers import worker

LEASE_SECONDS = 1.0


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    """Two nodes with a route for workers."""
    folder = tmp_path_factory.mktemp("nodes")
    file = folder / "routes.toml"
    file.write_text(table("orders.*", None, timeout_seconds=2) + table("slow.*", None, timeout_seconds=60))
    with (
        running_valkey() as valkey,
        running_nodes(
            folder, f"sqlite:///{folder}/db", valkey, routes=file, node_lease_seconds=LEASE_SECONDS
        ) as running,
    ):
        yield running


async def test_a_client_gets_the_chunks_of_a_worker_or_the_whole(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with (
        routing(own_gateway, tmp_path, table("orders.*", None)) as app,
        worker(app.gateway, "orders.*") as orders,
        app.connect(alice) as client,
    ):
        await start(client, 1)
        id_, body = await orders.message()
        assert body["stream"] is True
        await orders.chunk(id_, "one ")
        await client.expect("chunk", id=1, seq=1)
        await orders.chunk(id_, "two")
        await client.expect("chunk", id=1, seq=2)
        await orders.reply(id_, data={"done": True})
        assert await client.expect("reply", id=1) == {"done": True}
        number = await client.start("orders.create")
        id_, body = await orders.message()
        assert "stream" not in body
        await orders.chunk(id_, "one ")
        await orders.chunk(id_, "two")
        await client.expect_nothing()
        await orders.reply(id_, data={"done": True})
        assert await client.expect("reply", id=number) == {"text": "one two", "done": True}
        await start(client, 3)
        id_, _ = await orders.message()
        await orders.chunk(id_, "one")
        await orders.reply(id_, data="a lie")
        chunks, error = await answer_of(client, 3)
        assert (chunks, error["status"]) == (["one"], 50200)


async def test_a_cancellation_and_the_end_of_a_connection_reach_the_worker(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with (
        routing(own_gateway, tmp_path, table("orders.*", None)) as app,
        worker(app.gateway, "orders.*") as orders,
    ):
        async with app.connect(alice) as client:
            await start(client, 1)
            id_, _ = await orders.message()
            await orders.chunk(id_, "one")
            await client.expect("chunk", id=1)
            await client.send({"type": "cancel", "id": 2, "data": {"id": 1}})
            await client.expect("error", id=1, status=49900)
            await client.expect("reply", id=2)
            await orders.expect("route.cancel", id=id_)
            await orders.chunk(id_, "too late")
            await orders.expect("error", id=id_, status=40900)
            await client.expect_nothing()
            await start(client, 3)
            id_, _ = await orders.message()
        await orders.expect("route.cancel", id=id_)


async def heard(app: App) -> None:
    """Wait until a node knows that another one has a worker of each route."""
    await until(lambda: app.gateway.state.upstreams.are_up)


@pytest.mark.server
async def test_the_chunks_of_another_node_come_in_order_and_its_effects_after_the_reply(
    nodes: list[Gateway], unique: Callable[[str], str]
) -> None:
    here, there = nodes
    async with (
        App(here) as app,
        worker(there, "orders.*", "slow.*", service=unique("orders")) as orders,
        app.connect(unique("alice")) as client,
    ):
        await heard(app)
        await start(client, 1, text="über")
        id_, body = await orders.message()
        assert (body["data"], body["stream"]) == ({"text": "über"}, True)
        await orders.chunk(id_, "first")
        await client.expect("chunk", id=1, seq=1)
        for number in range(300):
            await orders.chunk(id_, {"number": number, "text": "☃"})
        await orders.chunk(id_, "x" * 250_000)
        await orders.reply(id_, data={"done": True})
        for number in range(300):
            assert await client.expect("chunk", id=1, seq=number + 2) == {"number": number, "text": "☃"}
        assert await client.next() == {"type": "chunk", "id": 1, "seq": 302, "data": "x" * 250_000}
        assert await client.expect("reply", id=1) == {"done": True}
        await start(client, 2)
        id_, _ = await orders.message()
        await orders.chunk(id_, "one")
        await orders.reply(id_, error={"status": 60001, "name": "sold_out", "message": "none is left"})
        chunks, error = await answer_of(client, 2)
        assert (chunks, error["status"]) == (["one"], 60001)
        await orders.expect_nothing()


@pytest.mark.server
async def test_a_cancellation_goes_to_another_node(nodes: list[Gateway], unique: Callable[[str], str]) -> None:
    here, there = nodes
    async with (
        App(here) as app,
        worker(there, "orders.*", "slow.*", service=unique("orders")) as orders,
        app.connect(unique("alice")) as client,
    ):
        await heard(app)
        await start(client, 1)
        id_, _ = await orders.message()
        await orders.chunk(id_, "one")
        await client.expect("chunk", id=1)
        await client.send({"type": "cancel", "id": 2, "data": {"id": 1}})
        await orders.expect("route.cancel", id=id_)
        await client.expect("error", id=1, status=49900)
        await client.expect("reply", id=2)


@pytest.mark.server
@pytest.mark.parametrize("lost", [1, 2])
async def test_a_chunk_that_is_lost_between_nodes_fails_its_message(
    nodes: list[Gateway], unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    here, there = nodes
    bus = there.state.node_calls._bus
    send = bus.send

    def lose_a_part(node: str | None, message: NodeMessage) -> bool:
        return (message.what == "part" and message.data["number"] == lost) or send(node, message)

    monkeypatch.setattr(bus, "send", lose_a_part)
    async with (
        App(here) as app,
        worker(there, "orders.*", "slow.*", service=unique("orders")) as orders,
        app.connect(unique("alice")) as client,
    ):
        await heard(app)
        await start(client, 1)
        id_, _ = await orders.message()
        await orders.chunk(id_, "one")
        if lost == 2:
            await client.expect("chunk", id=1, seq=1)
            await orders.chunk(id_, "two")
        await orders.reply(id_, data={})
        await client.expect("error", id=1, status=50200)
        await client.expect_nothing()


@pytest.mark.server
async def test_a_silence_and_a_queue_on_another_node_cost_a_message_its_time(
    nodes: list[Gateway], unique: Callable[[str], str], fresh_faults: None
) -> None:
    here, there = nodes
    async with (
        App(here) as app,
        worker(there, "orders.*", "slow.*", service=unique("orders"), parallel=1) as orders,
        app.connect(unique("alice")) as client,
    ):
        await heard(app)
        await start(client, 1)
        id_, _ = await orders.message()
        await orders.chunk(id_, "one")
        await client.expect("chunk", id=1)
        # The node of the worker is asked, and all of its workers are busy.
        data: dict[str, Any] = {"route": "orders.*", "service": None, "id": "msg_1", "body": {}}
        data |= {"seconds": 0.1, "silence": 1.0}
        found = await here.run(here.state.node_calls.ask(there.state.node_calls.own_id, "workers.call", data, 5))
        assert (found["failed"], found["late"]) == ("all workers were busy", True)
        await client.expect("error", id=1, status=50400)
        await orders.expect("route.cancel", id=id_)
        assert there.state.workers.figures.busy == 0
        assert faults.counters.total() == 0


@pytest.mark.server
async def test_a_flood_from_another_node_is_bounded(
    nodes: list[Gateway], unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes
    monkeypatch.setattr(open_message, "MAX_UNREAD_BYTES", 200_000)
    async with (
        App(here) as app,
        worker(there, "orders.*", "slow.*", service=unique("orders"), max_queue=None) as orders,
    ):
        await heard(app)
        async with app.connect(unique("alice")) as client, app.connect(unique("bob")) as other:
            client.ws.transport.pause_reading()
            await start(client, 1)
            id_, _ = await orders.message()
            cancelled = asyncio.create_task(orders.expect("route.cancel", id=id_))
            while not cancelled.done():
                await orders.chunk(id_, "x" * 50_000)
                await asyncio.sleep(0)
            await cancelled
            await start(other, 1)
            while (await orders.next())["type"] != "route.message":
                pass  # errors for what was on its way
            assert here.state.workers.figures.busy == 0
            client.ws.transport.abort()


@pytest.mark.server
async def test_the_node_of_a_worker_that_dies_in_the_middle_fails_the_message(
    tmp_path: Path, unique: Callable[[str], str]
) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(table("orders.*", None, timeout_seconds=60))
    changes: dict[str, Any] = {"routes": file, "node_lease_seconds": LEASE_SECONDS}
    with (
        running_valkey() as valkey,
        running_nodes(tmp_path, f"sqlite:///{tmp_path}/db", valkey, **changes) as (here, there),
    ):
        async with App(here) as app, worker(there, "orders.*") as orders, app.connect(unique("alice")) as client:
            await heard(app)
            await start(client, 1)
            id_, _ = await orders.message()
            await orders.chunk(id_, "one")
            await client.expect("chunk", id=1)
            there.state.node_calls._bus._up = False  # type: ignore[attr-defined] # as a node that was killed
            await client.expect("error", id=1, status=50200)
            await client.expect_nothing()
