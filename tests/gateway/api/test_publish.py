"""`POST /api/publish`: a backend speaks in rooms, and sends events to rooms, users and all."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.api.conftest import StartBackend
from tests.support.client import App
from tests.support.services import add_service

EVENT = {"type": "orders.changed", "data": {"id": 7}}


@pytest.mark.both_stores
async def test_a_message_reaches_rooms_and_is_in_their_logs(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with backend(app.gateway) as orders, app.in_room(alice, room) as client:
        first, second = await orders.publish(rooms=[room, "nowhere"], message={"text": "paid", "client_id": "7"})
        heard = await client.expect("chat.message", sender=orders.sender, text="paid", offset=1)
        assert first == {
            "room": room,
            "id": heard["id"],
            "epoch": heard["epoch"],
            "offset": 1,
            "duplicate": False,
        }
        assert (second["room"], second["error"]["status"]) == ("nowhere", 40400)
        [again] = await orders.publish(rooms=[room], message={"body": {"paid": True}, "client_id": "7"})
        assert again == first | {"duplicate": True}
        await client.expect_nothing()
        [message] = (await client.ask("chat.history", room=room))["messages"]
        assert (message["text"], message["sender"]) == ("paid", orders.sender)


async def test_the_same_idempotency_key_stores_a_message_once_in_each_room(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with backend(app.gateway) as orders, app.in_room(alice, room) as client:
        other = f"{room}-b"
        await client.ask("room.join", room=other)
        key = {"Idempotency-Key": "order-7-paid"}
        for duplicate in (False, True):
            results = await orders.publish(rooms=[room, other], message={"text": "paid"}, headers=key)
            assert [each["duplicate"] for each in results] == [duplicate, duplicate]
        [fresh] = await orders.publish(rooms=[room], message={"text": "paid"}, headers={"Idempotency-Key": "order-8"})
        assert fresh["duplicate"] is False
        assert len(await client.heard()) == 3


async def test_an_event_reaches_rooms_users_or_all_and_no_log(own_gateway: OwnGateway, backend: StartBackend) -> None:
    gateway = own_gateway()
    async with (
        App(gateway) as app,
        backend(gateway) as orders,
        app.in_room("alice", "lobby") as alice,
        app.connect("bob") as bob,
    ):
        missing = {"status": 40400, "name": "not_found", "retryable": False}
        results = await orders.publish(rooms=["lobby", "nowhere"], event=EVENT)
        assert results[0] == {"room": "lobby"}
        assert results[1]["error"] == missing | {"message": "there is no room `nowhere`"}
        await alice.expect("orders.changed", id=7)
        results = await orders.publish(users=["bob", "nobody"], event=EVENT)
        assert results[0] == {"user": "bob"}
        assert results[1]["error"] == missing | {"message": "there is no user `nobody`"}
        await bob.expect("orders.changed", id=7)
        assert await orders.publish(all=True, event={"type": "prices.changed"}) == [{"all": True, "reached": 2}]
        for client in (alice, bob):
            await client.expect("prices.changed")
            await client.expect_nothing()
        assert (await alice.ask("chat.history", room="lobby"))["messages"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"rooms": ["lobby"]}, ""),
        ({"rooms": ["lobby"], "message": {"text": "a"}, "event": EVENT}, ""),
        ({"rooms": ["lobby"], "users": ["alice"], "event": EVENT}, ""),
        ({"users": ["alice"], "message": {"text": "a"}}, ""),
        ({"all": True, "message": {"text": "a"}}, ""),
        ({"all": False, "event": EVENT}, "all"),
        ({"rooms": [], "message": {"text": "a"}}, "rooms"),
        ({"rooms": ["lobby"] * 2, "message": {"text": "a"}}, "rooms"),
        ({"rooms": [f"room-{n}" for n in range(101)], "message": {"text": "a"}}, "rooms"),
        ({"rooms": ["lobby\r\nX-Evil: 1"], "message": {"text": "a"}}, "rooms.0"),
        ({"rooms": ["lobby\n"], "message": {"text": "a"}}, "rooms.0"),
        ({"rooms": ["höhle"], "message": {"text": "a"}}, "rooms.0"),
        ({"users": ["service:orders"], "event": EVENT}, "users.0"),
        ({"rooms": ["lobby"], "message": {"text": ""}}, "message.text"),
        ({"rooms": ["lobby"], "message": {"text": "x" * 4001}}, "message.text"),
        ({"rooms": ["lobby"], "message": {"text": "a", "body": 1}}, "message"),
        ({"rooms": ["lobby"], "message": {"text": "a", "sender": "alice"}}, "message.sender"),
        ({"rooms": ["lobby"], "event": {"type": "chat.message", "data": {}}}, "event.type"),
        ({"rooms": ["lobby"], "event": {"type": "room.added", "data": {}}}, "event.type"),
        ({"rooms": ["lobby"], "event": {"type": "reply", "data": {}}}, "event.type"),
        ({"rooms": ["lobby"], "event": {"type": 'a"b', "data": {}}}, "event.type"),
        ({"rooms": ["lobby"], "event": {"type": "a\r\nb", "data": {}}}, "event.type"),
        ({"rooms": ["lobby"], "event": {"type": "x" * 65, "data": {}}}, "event.type"),
        ({"rooms": ["lobby"], "extra": 1, "event": EVENT}, "extra"),
    ],
)
async def test_a_wrong_request_names_its_field_and_does_nothing(
    app: App, backend: StartBackend, body: dict[str, Any], field: str
) -> None:
    async with backend(app.gateway) as orders:
        error = await orders.refused("POST", "/api/publish", json=body)
        assert error["status"] == 42200
        assert error["details"][0]["field"].startswith(field)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100 + "]" * 100,
        '{"rooms":["lobby"],"rooms":["attic"],"message":{"text":"a"}}',
        '{"rooms":["lobby"],"message":{"text":"a\\u0000"}}',
        '{"rooms":["lobby"],"message":{"text":"\\ud800"}}',
        '{"rooms":["lobby"],"message":{"body":NaN}}',
        b'{"rooms":["lobby"],"message":{"text":"\xff"}}',
    ],
)
async def test_a_body_that_is_no_strict_json_is_refused(app: App, backend: StartBackend, text: str | bytes) -> None:
    async with backend(app.gateway) as orders:
        error = await orders.refused("POST", "/api/publish", content=text, headers={"Content-Type": "application/json"})
        assert error["status"] == (40000 if text else 42200)


async def test_a_body_of_another_kind_or_over_a_mebibyte_is_refused(app: App, backend: StartBackend) -> None:
    async with backend(app.gateway) as orders:
        response = await orders.request("POST", "/api/publish", data={"rooms": "lobby"})
        assert response.status_code == 415
        big = json.dumps({"rooms": ["lobby"], "message": {"body": "x" * 1_100_000}})
        response = await orders.request(
            "POST", "/api/publish", content=big, headers={"Content-Type": "application/json"}
        )
        assert response.status_code == 413
        [result] = await orders.publish(rooms=["lobby"], message={"body": "x" * 100_000})
        assert result["error"]["status"] == 41300


@pytest.mark.parametrize("key", ["", "x" * 65, "a b", "ä", "a\tb"])
async def test_a_wrong_idempotency_key_is_refused(app: App, backend: StartBackend, key: str) -> None:
    async with backend(app.gateway) as orders:
        headers = {b"Idempotency-Key": key.encode()}
        body = {"rooms": ["lobby"], "message": {"text": "a"}}
        error = await orders.refused("POST", "/api/publish", json=body, headers=headers)
        assert (error["status"], error["details"][0]["field"]) == (42200, "idempotency-key")


async def test_a_service_speaks_only_where_and_how_it_may(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with app.in_room(alice, room) as client:
        async with backend(app.gateway, "api:publish", rooms=["order-*"]) as orders:
            for content in ({"message": {"text": "a"}}, {"event": EVENT}):
                [result] = await orders.publish(rooms=[room], **content)
                assert result["error"]["status"] == 40300
            for target in ({"users": [alice]}, {"all": True}):
                assert (await orders.refused("POST", "/api/publish", json=target | {"event": EVENT}))["status"] == 40300
        async with backend(app.gateway, "api:rooms") as orders:
            error = await orders.refused("POST", "/api/publish", json={"rooms": [room], "event": EVENT})
            assert "`api:publish`" in error["message"]
        await client.expect_nothing()


async def test_only_the_key_of_a_service_counts(app: App, backend: StartBackend, alice: str) -> None:
    async with backend(app.gateway) as orders:
        body = {"rooms": ["lobby"], "event": EVENT}
        wrong = orders.key[:-1] + ("A" if orders.key[-1] != "A" else "B")
        for authorization in ("", "Bearer", f"Bearer {wrong}", f"Basic {orders.key}"):
            error = await orders.refused("POST", "/api/publish", json=body, headers={"Authorization": authorization})
            assert error["status"] == 40001
        token = await app.token(alice)
        error = await orders.refused("POST", "/api/publish", json=body, headers={"Authorization": f"Bearer {token}"})
        assert error["status"] == 40300
        error = await orders.refused("POST", f"/api/publish?key={orders.key}", json=body)
        assert error["status"] == 40001
        assert orders.key not in json.dumps(error)


async def test_a_body_that_ends_early_publishes_nothing(app: App, backend: StartBackend, alice: str, room: str) -> None:
    async with backend(app.gateway) as orders, app.in_room(alice, room) as client:
        body = json.dumps({"rooms": [room], "message": {"text": "half"}})
        head = (
            f"POST /api/publish HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {orders.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body) + 10}\r\n\r\n"
        )
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(app.gateway.host, app.gateway.port)
            writer.write((head + body).encode())
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()
        await client.expect_nothing()


async def test_a_service_has_a_rate_of_its_own_and_leaves_that_of_its_address(
    own_gateway: OwnGateway, backend: StartBackend
) -> None:
    gateway: Gateway = own_gateway(service_rate=5, request_rate=2)
    gateway.clock.stop()
    async with backend(gateway) as orders, backend(gateway) as other:
        body = {"all": True, "event": EVENT}
        seen = [(await orders.request("POST", "/api/publish", json=body)).status_code for _ in range(7)]
        assert seen == [200] * 5 + [429] * 2
        assert (await other.request("POST", "/api/publish", json=body)).status_code == 200
        # Each target counts, and a service owes what it has used too much.
        many = {"rooms": [f"room-{number}" for number in range(9)], "event": EVENT}
        for status in (200, 429):
            assert (await other.request("POST", "/api/publish", json=many)).status_code == status
        forged = {"Authorization": "Bearer gwk_0"}
        seen = [(await orders.request("POST", "/api/publish", json=body, headers=forged)).status_code for _ in range(3)]
        assert seen == [401, 401, 429]


async def test_a_store_that_is_away_is_the_error_of_each_target(
    own_gateway: OwnGateway, backend: StartBackend, tmp_path: Path
) -> None:
    gateway = own_gateway(database_url=f"sqlite:///{tmp_path / 'lost.db'}")
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice, backend(gateway) as orders:
        hook = await add_service(gateway, "ci", "api:publish", hook_of="lobby")
        (tmp_path / "lost.db").unlink()
        publish: dict[str, Any] = {"rooms": ["lobby", "attic"], "message": {"text": "a"}}
        for result in await orders.publish(**publish):
            assert (result["error"]["status"], result["error"]["retryable"]) == (50300, True)
        items = {"items": [{"operation": "publish", "data": publish}, {"operation": "room.read", "data": 1}]}
        results = (await orders.ask("POST", "/api/batch", json=items))["results"]
        assert results[0]["data"]["results"][0]["error"]["status"] == 50300
        assert results[1]["status"] == 42200
        response = await app.http.post(f"/hook/{hook}", json={"text": "a"})
        assert (response.status_code, response.json()["status"]) == (503, 50300)
        assert "Retry-After" in response.headers
        # A room's listeners are all in this process, and no log keeps an event.
        assert await orders.publish(rooms=["lobby"], event=EVENT) == [{"room": "lobby"}]
        await alice.expect("orders.changed", id=7)
        await alice.expect_nothing()
