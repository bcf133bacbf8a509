"""`/api/rooms`, their members and their messages: what a backend reads and changes without a membership."""

from typing import Any

import pytest

from tests.conftest import OwnGateway
from tests.gateway.api.conftest import Backend, StartBackend
from tests.support.client import App, Frame

pytestmark = pytest.mark.both_stores


async def pages(orders: Backend, path: str, key: str, **query: Any) -> list[list[Frame]]:
    """Return all pages of a list."""
    found, cursor = [], None
    while True:
        page = await orders.ask("GET", path, params=query | ({} if cursor is None else {"cursor": cursor}))
        found.append(page[key])
        cursor = page.get("next_cursor")
        if cursor is None:
            return found


async def test_a_room_is_made_read_changed_and_deleted(app: App, backend: StartBackend, alice: str, room: str) -> None:
    async with backend(app.gateway) as orders:
        made = await orders.ask("POST", "/api/rooms", json={"room": room, "title": "Orders", "private": False})
        assert (made["name"], made["title"], made["kept"], made["members"]) == (room, "Orders", True, 0)
        assert made["signals"] is True
        assert await orders.ask("GET", f"/api/rooms/{room}") == made
        assert (await orders.refused("POST", "/api/rooms", json={"room": room}))["status"] == 40900
        async with app.in_room(alice, room) as client:
            changed = await orders.ask("PATCH", f"/api/rooms/{room}", json={"title": "Paid", "private": True})
            assert (changed["title"], changed["private"], changed["members"]) == ("Paid", True, 1)
            assert (await client.expect("room.updated"))["room"]["title"] == "Paid"
            await client.ask("room.signal", room=room, name="c")
            await client.ask("presence.set", room=room, state={"in_call": True})
            [member] = (await orders.ask("GET", f"/api/rooms/{room}/members"))["members"]
            assert (member["user"], member["custom_state"]) == (alice, {"in_call": True})
            assert (await orders.ask("PATCH", f"/api/rooms/{room}", json={"signals": False}))["signals"] is False
            await client.expect("room.updated")
            assert (await client.refused("room.signal", room=room, name="c"))["status"] == 40300
            await orders.ask("DELETE", f"/api/rooms/{room}")
            await client.expect("room.deleted", room=room)
        for method in ("GET", "DELETE"):
            assert (await orders.refused(method, f"/api/rooms/{room}"))["status"] == 40400
        assert (await orders.refused("PATCH", f"/api/rooms/{room}", json={"title": "a"}))["status"] == 40400


async def test_rooms_are_listed_in_pages_also_private_ones(own_gateway: OwnGateway, backend: StartBackend) -> None:
    gateway = own_gateway()
    async with backend(gateway) as orders, backend(gateway, "api:rooms", rooms=["b*"]) as restricted:
        for name in ("b1", "a1", "b2", "c1", "a2"):
            await orders.ask("POST", "/api/rooms", json={"room": name, "private": name == "b1"})
        listed = await pages(orders, "/api/rooms", "rooms", limit=2)
        assert [[room["name"] for room in page] for page in listed] == [["a1", "a2"], ["b1", "b2"], ["c1"]]
        listed = await pages(restricted, "/api/rooms", "rooms", limit=2)
        assert [[room["name"] for room in page] for page in listed] == [["b1", "b2"]]
        assert (await restricted.refused("GET", "/api/rooms/a1"))["status"] == 40300


async def test_no_cursor_names_a_room_that_a_service_may_not_use(
    own_gateway: OwnGateway, backend: StartBackend
) -> None:
    gateway = own_gateway()
    patterns = ["a_1", "t-*-x", "*.end", "o*p*q*r*"]
    fitting = ["a_1", "b.end", "opqr", "oxpxqxrx", "t--x", "t-1-x"]
    async with backend(gateway) as orders, backend(gateway, "api:rooms", rooms=patterns) as restricted:
        for name in (*fitting, "aa1", "a_12", "secret", "t-x", "t-1-xy", "b.ends", "orqp", "bxend"):
            await orders.ask("POST", "/api/rooms", json={"room": name, "private": True})
        query: dict[str, Any] = {"limit": 1}
        named = []
        while True:
            page = await restricted.ask("GET", "/api/rooms", params=query)
            named += [room["name"] for room in page["rooms"]]
            if "next_cursor" not in page:
                break
            query["cursor"] = page["next_cursor"]
            assert query["cursor"] in fitting, "the name of a room that is not for this service"
        assert sorted(named) == fitting


async def test_a_search_for_rooms_costs_more_than_a_list_of_all(own_gateway: OwnGateway, backend: StartBackend) -> None:
    gateway = own_gateway(service_rate=40)
    gateway.clock.stop()
    async with backend(gateway) as orders, backend(gateway, "api:rooms", rooms=["b*"]) as restricted:
        for each, statuses in ((orders, [200, 200]), (restricted, [200, 429])):
            assert [(await each.request("GET", "/api/rooms")).status_code for _ in range(2)] == statuses


async def test_members_are_put_listed_and_removed(
    app: App, backend: StartBackend, alice: str, bob: str, room: str
) -> None:
    async with backend(app.gateway) as orders, app.connect(alice) as client:
        await app.register(bob)
        await orders.ask("POST", "/api/rooms", json={"room": room, "private": True})
        members = f"/api/rooms/{room}/members"
        response = await orders.request("PUT", f"{members}/{alice}")
        assert response.status_code == 201
        assert response.json() == {"room": room, "user": alice, "role": "member", "new": True}
        await client.expect("room.added", by=orders.sender)
        await client.ask("room.join", room=room)
        response = await orders.request("PUT", f"{members}/{alice}", json={"role": "owner"})
        assert (response.status_code, response.json()["new"]) == (200, False)
        await client.expect("room.role", user=alice, role="owner")
        await orders.ask("PUT", f"{members}/{bob}", json={"role": "moderator"})
        await client.expect("room.joined", user=bob)
        await client.expect("room.role", user=bob, role="moderator")
        listed = await pages(orders, members, "members", limit=1)
        assert [[(each["user"], each["role"], each["state"]) for each in page] for page in listed] == [
            [(alice, "owner", "online")],
            [(bob, "moderator", "offline")],
        ]
        await orders.ask("DELETE", f"{members}/{bob}")
        await client.expect("room.left", user=bob, by=orders.sender)
        for path in (f"{members}/{bob}", f"{members}/nobody", f"/api/rooms/nowhere/members/{bob}"):
            assert (await orders.refused("DELETE", path))["status"] == 40400
        assert (await orders.refused("PUT", f"{members}/nobody"))["status"] == 40400
        assert (await orders.refused("GET", "/api/rooms/nowhere/members"))["status"] == 40400
        assert (await orders.refused("PUT", f"{members}/{alice}", json={"role": "king"}))["status"] == 42200


async def test_messages_are_read_in_both_directions_edited_and_deleted(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with backend(app.gateway) as orders, app.in_room(alice, room) as client:
        for number in range(4):
            await client.say(room, str(number))
        [sent] = await orders.publish(rooms=[room], message={"text": "paid", "client_id": "order-7"})
        messages = f"/api/rooms/{room}/messages"
        listed = await pages(orders, messages, "messages", limit=2)
        assert [[each["text"] for each in page] for page in listed] == [["paid", "3"], ["2", "1"], ["0"]]
        listed = await pages(orders, messages, "messages", limit=2, after=1)
        assert [[each["text"] for each in page] for page in listed] == [["1", "2"], ["3", "paid"]]
        await client.expect("chat.message", text="paid")

        own = await orders.ask("GET", f"{messages}/{sent['id']}")
        assert (own["text"], own["client_id"]) == ("paid", "order-7")
        edited = await orders.ask("PATCH", f"{messages}/{sent['id']}", json={"body": {"paid": 1}})
        assert edited["message"]["body"] == {"paid": 1}
        await client.expect("chat.edited", body={"paid": 1})

        of_alice = listed[0][0]["id"]
        error = await orders.refused("PATCH", f"{messages}/{of_alice}", json={"text": "forged"})
        assert error["status"] == 40300
        deleted = await orders.ask("DELETE", f"{messages}/{of_alice}")
        assert (deleted["message"]["deleted"], "text" in deleted["message"]) == (True, False)
        await client.expect("chat.deleted", id=of_alice)
        assert (await orders.ask("GET", f"{messages}/{of_alice}"))["deleted"] is True
        for missing in (f"{sent['epoch']}.99", "other.1", "x", f"{sent['epoch']}.-1"):
            for method in ("GET", "DELETE"):
                assert (await orders.refused(method, f"{messages}/{missing}"))["status"] == 40400
        assert (await orders.refused("GET", "/api/rooms/nowhere/messages"))["status"] == 40400


async def test_a_message_of_a_service_grows(app: App, backend: StartBackend, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as client, backend(app.gateway, "api:publish") as orders:
        [sent] = await orders.publish(rooms=[room], message={"text": "Paid."})
        await client.expect("chat.message")
        path = f"/api/rooms/{room}/messages/{sent['id']}/append"
        reply = await orders.ask("POST", path, json={"text": " Packed.", "at": 5})
        assert reply == {"message_id": sent["id"], "changed": sent["offset"] + 1, "length": 13, "done": False}
        await client.expect("chat.appended", id=sent["id"], at=5, text=" Packed.")
        error = await orders.refused("POST", path, json={"text": " Packed.", "at": 5})
        assert (error["status"], error["details"]) == (40900, [{"field": "data.at", "message": "expected 13"}])
        for wrong in ({}, {"text": ""}, {"text": "x" * 4001}, {"text": "x", "at": 1.5}, {"text": "x", "room": room}):
            assert (await orders.refused("POST", path, json=wrong))["status"] == 42200
        last = {
            "operation": "message.append",
            "data": {"room": room, "message_id": sent["id"], "text": "", "done": True},
        }
        results = (await orders.ask("POST", "/api/batch", json={"items": [last, last]}))["results"]
        assert [result["status"] for result in results] == [20000, 40900]
        await client.expect("chat.appended", at=13, text="", done=True)
        said = await client.say(room, "mine")
        theirs = f"/api/rooms/{room}/messages/{said['id']}/append"
        assert (await orders.refused("POST", theirs, json={"text": "forged"}))["status"] == 40300
        nowhere = f"/api/rooms/{room}-b/messages/{said['id']}/append"
        assert (await orders.refused("POST", nowhere, json={"text": "x"}))["status"] == 40400
        await client.expect_nothing()


async def test_long_messages_come_in_shorter_pages(app: App, backend: StartBackend, room: str) -> None:
    async with backend(app.gateway) as orders:
        await orders.ask("POST", "/api/rooms", json={"room": room})
        for number in range(6):
            await orders.publish(rooms=[room], message={"body": [number, "x" * 60_000]})
        listed = await pages(orders, f"/api/rooms/{room}/messages", "messages", limit=100)
        assert len(listed) == 2
        assert [message["body"][0] for page in listed for message in page] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    "path",
    [
        "/api/rooms/Lobby",
        "/api/rooms/lobby%0d%0aX-Evil:1",
        "/api/rooms/lobby%0a",
        "/api/rooms/h%C3%B6hle",
        "/api/rooms/%00",
        "/api/rooms/lobby/members?cursor=%0a",
        "/api/rooms/lobby/messages?cursor=sideways-1",
        "/api/rooms/lobby/messages?cursor=before-1%0a",
        "/api/rooms/lobby/messages?after=-1",
        "/api/rooms/lobby/messages?limit=101",
        "/api/rooms?limit=0",
        "/api/rooms?cursor=~1",
    ],
)
async def test_names_and_cursors_that_cannot_be_are_refused(app: App, backend: StartBackend, path: str) -> None:
    async with backend(app.gateway) as orders:
        response = await orders.request("GET", path)
        assert (response.status_code, "x-evil" in response.headers) == (422, False)


async def test_each_operation_needs_its_scope_and_its_room(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    requests: list[tuple[str, str, Any]] = [
        ("GET", f"/api/rooms/{room}", None),
        ("PATCH", f"/api/rooms/{room}", {"title": "a"}),
        ("DELETE", f"/api/rooms/{room}", None),
        ("GET", f"/api/rooms/{room}/members", None),
        ("PUT", f"/api/rooms/{room}/members/{alice}", None),
        ("DELETE", f"/api/rooms/{room}/members/{alice}", None),
        ("GET", f"/api/rooms/{room}/messages", None),
        ("GET", f"/api/rooms/{room}/messages/e.1", None),
        ("PATCH", f"/api/rooms/{room}/messages/e.1", {"text": "a"}),
        ("POST", f"/api/rooms/{room}/messages/e.1/append", {"text": "a"}),
        ("DELETE", f"/api/rooms/{room}/messages/e.1", None),
        ("POST", "/api/rooms", {"room": f"{room}-b"}),
    ]
    async with app.in_room(alice, room) as client:
        async with backend(app.gateway, "server") as orders:
            for method, path, body in [*requests, ("GET", "/api/rooms", None)]:
                assert (await orders.refused(method, path, json=body))["status"] == 40300
        async with backend(app.gateway, "api:publish", "api:rooms", rooms=["order-*"]) as orders:
            for method, path, body in requests:
                assert (await orders.refused(method, path, json=body))["status"] == 40300
        await client.expect_nothing()
