"""`POST /api/batch`: many operations, of which one that fails stops no other."""

from typing import Any

import pytest

from gateway.api.operations import OPERATIONS
from tests.conftest import OwnGateway
from tests.gateway.api.conftest import Backend, StartBackend
from tests.support.client import App, Frame


async def batch(orders: Backend, *items: Frame, **content: Any) -> list[Frame]:
    results: list[Frame] = (await orders.ask("POST", "/api/batch", json={"items": items}, **content))["results"]
    return results


@pytest.mark.both_stores
async def test_each_operation_sees_the_ones_before_it_and_one_that_fails_stops_no_other(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with backend(app.gateway) as orders, app.connect(alice) as client:
        results = await batch(
            orders,
            {"operation": "room.create", "data": {"room": room, "private": True}},
            {"operation": "member.put", "data": {"room": room, "user": alice, "role": "moderator"}},
            {"operation": "room.create", "data": {"room": room}},
            {"operation": "publish", "data": {"rooms": [room], "message": {"text": "Welcome"}}},
            {"operation": "publish", "data": {"rooms": [room], "message": {"text": ""}}},
            {"operation": "room.reed", "data": {"room": room}},
            {"operation": "room.update", "data": {"room": room}},
            {"operation": "room.read", "data": {"room": room}},
            {"operation": "member.remove", "data": {"room": room, "user": "nobody"}},
        )
        assert [result["status"] for result in results] == [
            20000,
            20000,
            40900,
            20000,
            42200,
            40002,
            42200,
            20000,
            40400,
        ]
        assert results[3]["data"]["results"][0]["offset"] == 1
        assert results[4]["error"]["details"][0]["field"] == "data.message.text"
        assert (
            results[5]["error"]["message"]
            == "no such operation; did you mean `room.read` or `room.create` or `room.update`"
        )
        assert (results[7]["data"]["offset"], results[7]["data"]["members"]) == (1, 1)
        await client.expect("room.added", by=orders.sender)
        await client.expect_nothing()
        reply = await client.ask("room.join", room=room)
        assert [message["text"] for message in reply["messages"]] == ["Welcome"]


async def test_messages_of_a_batch_keep_their_order_and_have_a_key_each(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with backend(app.gateway) as orders, app.in_room(alice, room) as client:
        items = [
            {"operation": "publish", "data": {"rooms": [room], "message": {"text": str(number)}}}
            for number in range(100)
        ]
        for duplicate in (False, True):
            results = await batch(orders, *items, headers={"Idempotency-Key": "nightly"})
            sent = [result["data"]["results"][0] for result in results]
            assert [each["offset"] for each in sent] == list(range(1, 101))
            assert {each["duplicate"] for each in sent} == {duplicate}
        heard = await client.heard()
        assert [event["data"]["text"] for event in heard] == [str(number) for number in range(100)]


async def test_messages_and_events_of_a_batch_keep_their_order(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with backend(app.gateway) as orders, app.in_room(alice, room) as client:
        contents: list[Frame] = [
            {"message": {"text": "0"}},
            {"event": {"type": "orders.changed", "data": {"text": "1"}}},
            {"message": {"text": "2"}},
            {"message": {"text": "3"}},
            {"event": {"type": "orders.changed", "data": {"text": "4"}}},
            {"event": {"type": "orders.changed", "data": {"text": "5"}}},
            {"message": {"text": "6"}},
        ]
        await batch(orders, *({"operation": "publish", "data": {"rooms": [room]} | each} for each in contents))
        assert [event["data"]["text"] for event in await client.heard()] == list("0123456")


async def test_a_batch_has_one_to_a_hundred_items(app: App, backend: StartBackend, room: str) -> None:
    async with backend(app.gateway) as orders:
        item = {"operation": "room.create", "data": {"room": room}}
        wrong: list[list[Any]] = [[], [item] * 101, [{"data": {}}], [{"operation": "publish", "extra": 1}]]
        for items in wrong:
            error = await orders.refused("POST", "/api/batch", json={"items": items})
            assert (error["status"], error["details"][0]["field"].partition(".")[0]) == (42200, "items")
        assert (await orders.refused("GET", f"/api/rooms/{room}"))["status"] == 40400


async def test_thousands_of_unknown_keys_are_not_looked_at_one_by_one(
    app: App, backend: StartBackend, room: str
) -> None:
    many = dict.fromkeys(map(str, range(50_000)), 0)
    wrong = [
        many,
        {"items": [many]},
        {"items": [{"operation": "publish", "data": many}]},
        {"items": [{"operation": "publish", "data": {"rooms": [room], "message": many}}]},
        {"items": [{"operation": "publish", "data": {"rooms": [room], "event": many}}]},
    ]
    async with backend(app.gateway) as orders:
        for content in wrong:
            error = await orders.refused("POST", "/api/batch", json=content)
            assert (error["status"], error["message"]) == (40000, "expected objects with at most 32 keys, got more")
        # The content of a message or an event may have as many as fit.
        await orders.ask("POST", "/api/rooms", json={"room": room})
        some = dict.fromkeys(map(str, range(3000)), 0)
        event = {"rooms": [room], "event": {"type": "orders.changed", "data": some}}
        message = {"rooms": [room], "message": {"body": some}}
        items = [{"operation": "publish", "data": event}, {"operation": "publish", "data": message}]
        results = (await orders.ask("POST", "/api/batch", json={"items": items}))["results"]
        assert [result["status"] for result in results] == [20000, 20000]
        assert all("error" not in result["data"]["results"][0] for result in results)


async def test_each_item_counts_for_the_rate_of_the_service(own_gateway: OwnGateway, backend: StartBackend) -> None:
    gateway = own_gateway(service_rate=10)
    gateway.clock.stop()
    async with backend(gateway) as orders:
        item = {"operation": "room.read", "data": {"room": "lobby"}}
        assert len(await batch(orders, *[item] * 10)) == 10
        response = await orders.request("POST", "/api/batch", json={"items": [item]})
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")


async def test_a_batch_gives_no_rights_that_the_service_lacks(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    data = {
        "publish": {"rooms": [room], "message": {"text": "a"}},
        "room.update": {"room": room, "title": "a"},
        "room.create": {"room": f"{room}-b"},
        "member.put": {"room": room, "user": alice},
        "member.remove": {"room": room, "user": alice},
        "message.edit": {"room": room, "message_id": "e.1", "text": "a"},
        "message.append": {"room": room, "message_id": "e.1", "text": "a"},
        "message.delete": {"room": room, "message_id": "e.1"},
        "connection.close": {"connection": "0" * 16},
        **{f"user.{name}": {"user": alice} for name in ("read", "disconnect", "end_sessions")},
    }
    async with app.in_room(alice, room) as client, backend(app.gateway, "server") as orders:
        items = [{"operation": name, "data": data.get(name, {"room": room})} for name in OPERATIONS]
        results = await batch(orders, *items)
        assert {result["status"] for result in results} == {40300}
        await client.expect_nothing()
