"""A client's message on its way to a worker and back, through the routes file: what both sides see."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import OwnGateway
from tests.gateway.upstream.routing import reload, routing, table
from tests.support.client import App
from tests.support.metrics import metrics_of
from tests.support.nodes import running_nodes
from tests.support.services import add_service
from tests.support.upstreams import FORGED
from tests.support.valkey import Valkey
from tests.support.waiting import until
from tests.support.workers import LONG, Worker, worker

ORDERS = table("orders.*", None)


@asynccontextmanager
async def orders(
    own_gateway: OwnGateway, folder: Path, *tables: str, parallel: int = 16, **options: Any
) -> AsyncIterator[tuple[App, Worker]]:
    """A gateway with a route for workers, and a worker."""
    async with (
        routing(own_gateway, folder, *(tables or [ORDERS]), **options) as app,
        worker(app.gateway, "orders.*", parallel=parallel) as connected,
    ):
        yield app, connected


async def test_a_message_reaches_a_worker_and_its_reply_the_sender(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with orders(own_gateway, tmp_path) as (app, connected), app.connect(alice) as client:
        number = await client.start("orders.create", sku="☃", count=[1, None, 1.5])
        frame = await connected.next()
        assert set(frame) == {"type", "id", "message_id", "traceparent", "data"}
        assert frame["message_id"].startswith("msg_")
        assert frame["data"] == {
            "type": "orders.create",
            "id": number,
            "data": {"sku": "☃", "count": [1, None, 1.5]},
            "user": alice,
            "scopes": ["chat:read", "chat:write", "rooms:manage"],
            "claims": {},
            "connection": client.welcome["connection"],
        }
        await connected.reply(frame["id"], data={"order": 1})
        assert await client.expect("reply", id=number, status=20000) == {"order": 1}
        number = await client.start("orders.create")
        id_, _ = await connected.message()
        await connected.reply(id_, error={"status": 60001, "name": "sold_out", "message": "none is left"})
        await client.expect("error", id=number, status=60001, name="sold_out", message="none is left")


async def test_over_http_a_worker_answers_like_any_service(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    async with orders(own_gateway, tmp_path) as (app, connected):
        token = await app.token(alice)
        asking = asyncio.create_task(app.ask("POST", "/call/orders.create", token, json={"sku": "tea"}))
        assert (await connected.answer_one(order=1))["data"] == {"sku": "tea"}
        response = await asking
        assert (response.status_code, response.json()) == (200, {"order": 1})


async def test_effects_of_a_worker_happen_after_its_reply(own_gateway: OwnGateway, tmp_path: Path, alice: str) -> None:
    route = table("orders.*", None, service="orders", effects=["publish", "join"], rooms=["order-*"])
    async with orders(own_gateway, tmp_path, route) as (app, connected), app.in_room(alice, "order-1") as client:
        number = await client.start("orders.create")
        id_, _ = await connected.message()
        await connected.reply(id_, data={}, effects=[{"publish": {"room": "order-1", "text": "On its way"}}])
        await client.expect("reply", id=number)
        message = await client.expect("chat.message")
        assert (message["sender"], message["text"]) == ("service:orders", "On its way")
        number = await client.start("orders.create")
        id_, _ = await connected.message()
        await connected.reply(id_, data={}, effects=[{"publish": {"room": "lobby", "text": "Not here"}}])
        await client.expect("error", id=number, status=50200)
        await client.expect_nothing()


LIES: dict[str, dict[str, Any]] = {
    "data that is no object": {"data": FORGED},
    "null as data": {"data": None},
    "an error without a message": {"error": {"status": 60001, "name": "sold_out"}},
    "an error of ours": {"error": {"status": 50000, "name": "internal_error", "message": FORGED}},
    "an error of a credential": {"error": {"status": 40102, "name": "token_revoked", "message": FORGED}},
    "an error that is a text": {"error": FORGED},
    "an effect that the route may not": {"data": {}, "effects": [{"disconnect": {}}]},
    "an unknown effect": {"data": {}, "effects": [{"explode": {}}]},
    "effects that are no list": {"data": {}, "effects": FORGED},
    "data and an error": {"data": {}, "error": {"status": 60001, "name": "x", "message": FORGED}},
    "nothing": {},
    "other keys": {"data": {}, FORGED: 1},
    "more than a frame": {"data": {"x": "x" * (256 * 1024 - 100)}},
    "data beyond the schema": {"data": {"total": FORGED}},
}


async def test_a_lie_costs_its_message_50200_and_nothing_else(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    schema = {"type": "object", "properties": {"total": {"type": "number"}}}
    async with (
        orders(own_gateway, tmp_path, table("orders.*", None, reply=schema)) as (app, connected),
        app.connect(alice) as client,
    ):
        connected.ignored.add("error")
        for name, lie in LIES.items():
            number = await client.start("orders.create")
            id_, _ = await connected.message()
            await connected.reply(id_, **lie)
            error = await client.expect("error", id=number, status=50200, retryable=True)
            assert FORGED not in json.dumps(error), name
        number = await client.start("orders.create")
        await connected.answer_one(total=1)
        assert await client.expect("reply", id=number) == {"total": 1}
        await client.expect_nothing()


async def test_without_a_worker_a_message_fails_at_once_and_readyz_says_so(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with routing(own_gateway, tmp_path, ORDERS) as app, app.connect(alice) as client:
        assert (await client.refused("orders.create"))["status"] == 50200
        readiness = await app.http.get("/readyz")
        assert (readiness.status_code, readiness.json()["upstreams"]) == (200, "degraded")
        async with worker(app.gateway, "orders.*") as connected:
            assert (await app.http.get("/readyz")).json()["upstreams"] == "up"
            number = await client.start("orders.create")
            await connected.answer_one()
            await client.expect("reply", id=number)
        await until(lambda: app.gateway.state.workers.figures.connections == 0)
        assert (await client.refused("orders.create"))["status"] == 50200


async def test_a_worker_that_goes_away_with_many_messages_does_not_stop_the_others(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with orders(own_gateway, tmp_path, parallel=8) as (app, stays), app.connect(alice) as client:
        key = await add_service(app.gateway, "orders-2", "api:serve")
        await stays.serve()
        async with worker(app.gateway, "orders.*", service="orders-2", key=key, parallel=8) as goes:
            numbers = [await client.start("orders.create") for _ in range(8)]
            for _ in numbers:
                await goes.message()
            await stays.serve("orders.*")
            goes.ws.transport.abort()
            for _ in numbers:
                await client.expect("error", status=50200)
        for _ in range(3):
            number = await client.start("orders.create")
            await stays.answer_one()
            await client.expect("reply", id=number)
        assert (await metrics_of(app))['gateway_upstream_breaker{route="orders.*"}'] == 0


async def test_a_worker_that_never_answers_costs_50400_and_holds_nothing_up(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    route = table("orders.*", None, timeout_seconds=0.2)
    async with orders(own_gateway, tmp_path, route) as (app, connected), app.connect(alice) as client:
        for _ in range(8):
            await client.start("orders.create")
        await client.ask("echo", still="here")
        for _ in range(8):
            await client.expect("error", status=50400, name="upstream_timeout")
        await connected.until(type="route.cancel")
        assert (await metrics_of(app))['gateway_upstream_breaker{route="orders.*"}'] == 0


async def test_a_client_that_goes_away_cancels_its_messages(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with orders(own_gateway, tmp_path) as (app, connected):
        async with app.connect(alice) as client:
            await client.start("orders.create")
            id_, _ = await connected.message()
        await connected.expect("route.cancel", id=id_)
        await connected.reply(id_, data={})
        await connected.expect("error", id=id_, status=40900)
        await connected.expect_nothing()


async def test_an_idempotent_message_goes_to_another_worker_with_the_same_message_id(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    route = table("orders.*", None, idempotent=True)
    async with orders(own_gateway, tmp_path, route) as (app, connected), app.connect(alice) as client:
        number = await client.start("orders.create")
        first = await connected.next()
        await connected.reply(first["id"], mood=1)
        await connected.expect("error", status=42200)
        again = await connected.next()
        assert again["id"] != first["id"]
        assert again["message_id"] == first["message_id"]
        await connected.reply(again["id"], data={"done": True})
        assert await client.expect("reply", id=number) == {"done": True}


async def test_a_changed_file_changes_what_workers_may_serve(
    own_gateway: OwnGateway, tmp_path: Path, alice: str
) -> None:
    async with orders(own_gateway, tmp_path) as (app, connected), app.connect(alice) as client:
        assert (await connected.refused("route.serve", types=["orders.*", "stock.list"]))["status"] == 40300
        (tmp_path / "routes.toml").write_text(table("stock.list", None) + table("orders.*", None, service="warehouse"))
        await reload(app)
        await connected.serve("stock.list")
        number = await client.start("stock.list")
        await connected.answer_one(stock=[])
        await client.expect("reply", id=number)
        assert (await client.refused("orders.create"))["status"] == 50200
        assert (await connected.refused("route.serve", types=["orders.*"]))["status"] == 40300
        (tmp_path / "routes.toml").write_text("scopes = []\n")
        await reload(app)
        assert (await client.refused("stock.list"))["status"] == 40002
        error = await connected.refused("route.serve", types=["stock.list"])
        assert "It may serve: none" in error["message"]


@pytest.mark.server
async def test_clients_of_one_node_reach_workers_of_another(
    tmp_path: Path, store_url: str, valkey: Valkey, unique: Callable[[str], str]
) -> None:
    file = tmp_path / "routes.toml"
    file.write_text(ORDERS)
    with running_nodes(tmp_path, store_url, valkey, routes=file) as (here, there):
        async with App(here) as app, worker(there, "orders.*") as connected, app.connect(unique("alice")) as client:
            await until(lambda: here.state.upstreams.are_up)
            numbers = [await client.start("orders.create", number=number) for number in range(3)]
            for _ in numbers:
                id_, body = await connected.message()
                await connected.reply(id_, data=body["data"])
            replies = {number: await client.until(type="reply", id=number) for number in numbers}
            assert [replies[number]["data"]["number"] for number in numbers] == [0, 1, 2]
            trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            await client.send({"type": "orders.create", "id": "t", "traceparent": trace})
            frame = await connected.next()
            assert frame["traceparent"] == trace  # through the other node
            await connected.reply(frame["id"], data={})
            await client.until(type="reply", id="t")
            number = await client.start("orders.create")
            await connected.message()
            connected.ws.transport.abort()
            async with asyncio.timeout(LONG / 4):
                await client.expect("error", id=number, status=50200)
