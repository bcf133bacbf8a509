"""`/api/connections` and `/api/presence`: a backend sees the connections of all nodes, and closes them."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.testing import Gateway
from schemas.services import CONNECTIONS, PUBLISH
from tests.gateway.api.conftest import Backend, StartBackend
from tests.support.client import App, Frame
from tests.support.nodes import running_nodes
from tests.support.valkey import Valkey
from tests.support.waiting import until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


async def listed(orders: Backend, **query: Any) -> list[Frame]:
    found: list[Frame] = (await orders.ask("GET", "/api/connections", params=query))["connections"]
    return found


async def test_a_connection_is_listed_by_user_room_and_address(
    app: App, backend: StartBackend, alice: str, bob: str, room: str
) -> None:
    async with backend(app.gateway, CONNECTIONS) as orders:
        async with app.in_room(alice, room) as of_alice, app.connect(bob) as of_bob, app.connect(alice) as other:
            [mine] = await listed(orders, room=room)
            assert mine["connection"] == of_alice.welcome["connection"]
            assert (mine["user"], mine["address"], mine["rooms"]) == (alice, "127.0.0.1", 1)
            assert mine["scopes"] == of_alice.welcome["scopes"]
            assert mine["expires_at"] == of_alice.welcome["token_expires_at"]
            for time in ("connected_at", "last_message_at"):
                assert re.fullmatch(TIME, mine[time])
            of_user = {each["connection"] for each in await listed(orders, user=alice)}
            assert of_user == {of_alice.welcome["connection"], other.welcome["connection"]}
            assert await listed(orders, user=bob, room=room) == []
            assert await listed(orders, user=bob, address="203.0.113.9") == []
            [his] = await listed(orders, user=bob, address="127.0.0.1")
            assert his["connection"] == of_bob.welcome["connection"]
        assert await listed(orders, user=alice) == []
        assert (await orders.refused("GET", "/api/connections", params={"user": "no-such-user"}))["status"] == 40400


async def test_pages_have_every_connection_once_in_order(app: App, backend: StartBackend, alice: str) -> None:
    async with AsyncExitStack() as stack, backend(app.gateway, CONNECTIONS) as orders:
        clients = [await stack.enter_async_context(app.connect(alice)) for _ in range(5)]
        found: list[str] = []
        query: dict[str, Any] = {"user": alice, "limit": 2}
        while True:
            page = await orders.ask("GET", "/api/connections", params=query)
            assert page["missing_nodes"] == []
            found += [each["connection"] for each in page["connections"]]
            if "next_cursor" not in page:
                break
            query["cursor"] = page["next_cursor"]
        assert found == sorted(client.welcome["connection"] for client in clients)


async def test_one_connection_is_closed_and_its_token_stays_good(app: App, backend: StartBackend, alice: str) -> None:
    token = await app.token(alice)
    async with backend(app.gateway, CONNECTIONS) as orders:
        async with app.connect_with(token) as client, app.connect_with(token) as other:
            path = f"/api/connections/{client.welcome['connection']}"
            assert (await orders.request("DELETE", path)).status_code == 204
            bye = await client.expect("bye", code=4403, reason="disconnected", reconnect="never")
            assert "after_ms" not in bye
            await client.expect_close(4403, "disconnected")
            await other.expect_nothing()
            gone = await orders.refused("DELETE", path)
            assert (gone["status"], gone["message"]) == (40400, "there is no such connection")
        async with app.connect_with(token) as client:
            await client.expect_nothing()


async def test_presence_of_users_and_of_a_room(
    app: App, backend: StartBackend, alice: str, bob: str, room: str
) -> None:
    async with backend(app.gateway, CONNECTIONS) as orders:
        await app.register(bob)
        async with app.in_room(alice, room), app.in_room(alice, room), app.in_room(f"zoe-{alice}", room):
            answer = await orders.ask("GET", "/api/presence", params={"user": [bob, alice]})
            assert answer == {"users": [{"user": bob, "state": "offline"}, {"user": alice, "state": "online"}]}
            first = await orders.ask("GET", f"/api/rooms/{room}/presence", params={"limit": 1})
            assert first["users"] == [{"user": alice, "state": "online"}]
            rest = await orders.ask("GET", f"/api/rooms/{room}/presence", params={"cursor": first["next_cursor"]})
            assert rest["users"] == [{"user": f"zoe-{alice}", "state": "online"}]
            assert "next_cursor" not in rest


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"cursor": "x"},
        {"cursor": "é" * 16},
        {"user": "No!"},
        {"room": "no room"},
        {"address": "1" * 65},
    ],
)
async def test_a_wrong_query_is_refused(app: App, backend: StartBackend, query: dict[str, Any]) -> None:
    async with backend(app.gateway, CONNECTIONS) as orders:
        refused = await orders.refused("GET", "/api/connections", params=query)
        assert refused["status"] == 42200
        assert (await orders.refused("DELETE", "/api/connections/nonsense"))["status"] == 42200
        for wrong in ({}, {"user": "No!"}, {"user": ["alice"] * 101}):
            assert (await orders.refused("GET", "/api/presence", params=wrong))["status"] == 42200


async def test_a_service_needs_the_scope_and_its_own_rooms(
    app: App, backend: StartBackend, alice: str, room: str
) -> None:
    async with (
        backend(app.gateway, PUBLISH) as lacks_it,
        backend(app.gateway, CONNECTIONS, rooms=[f"{room}*"]) as of_room,
        app.in_room(alice, room) as client,
    ):
        mine = client.welcome["connection"]
        requests = [
            ("GET", "/api/connections", {}),
            ("GET", "/api/connections", {"room": "lobby"}),
            ("GET", "/api/connections", {"user": alice}),
            ("GET", "/api/rooms/lobby/presence", {}),
            ("GET", "/api/presence", {"user": alice}),
            ("DELETE", f"/api/connections/{mine}", {}),
        ]
        for method, path, query in requests:
            refused = await lacks_it.refused(method, path, params=query)
            assert (refused["status"], "`api:connections`" in refused["message"]) == (40300, True)
            refused = await of_room.refused(method, path, params=query)
            assert (refused["status"], f"{room}*" in refused["message"]) == (40300, True)
        [found] = await listed(of_room, room=room)
        assert found["connection"] == mine
        assert (await of_room.ask("GET", f"/api/rooms/{room}/presence"))["users"][0]["user"] == alice
        await client.expect_nothing()


@pytest.fixture
def nodes(valkey: Valkey, store_url: str, tmp_path: Path) -> Iterator[list[Gateway]]:
    with running_nodes(tmp_path, store_url, valkey) as running:
        yield running


@pytest.mark.both_stores
async def test_one_node_lists_and_closes_the_connections_of_the_other(
    nodes: list[Gateway], backend: StartBackend
) -> None:
    async with (
        App(nodes[0]) as here,
        App(nodes[1]) as there,
        backend(nodes[0]) as orders,
        here.in_room("alice", "lobby") as of_alice,
        there.in_room("bob", "lobby") as of_bob,
        there.connect("alice") as elsewhere,
    ):
        of_alice.ignored |= {"room.joined"}
        ids = {client.welcome["connection"] for client in (of_alice, of_bob)}
        page = await orders.ask("GET", "/api/connections", params={"room": "lobby"})
        assert {each["connection"] for each in page["connections"]} == ids
        assert len({each["node"] for each in page["connections"]}) == 2
        assert page["missing_nodes"] == []
        in_room = await orders.ask("GET", "/api/rooms/lobby/presence")
        assert [each["user"] for each in in_room["users"]] == ["alice", "bob"]

        assert (await orders.request("DELETE", f"/api/connections/{of_bob.welcome['connection']}")).status_code == 204
        await of_bob.expect("bye", code=4403)
        assert await orders.ask("POST", "/api/users/alice/disconnect") == {"closed": 2}
        await asyncio.gather(*(client.expect("bye", code=4403) for client in (of_alice, elsewhere)))
        assert await listed(orders) == []


async def test_a_node_that_does_not_answer_is_named(
    unreliable: Valkey, store_url: str, tmp_path: Path, backend: StartBackend
) -> None:
    with running_nodes(tmp_path, store_url, unreliable) as (first, second):
        async with App(first) as here, App(second) as there, backend(first) as orders:
            async with here.connect("alice") as of_alice, there.connect("bob") as of_bob:
                await until(lambda: first.state.node_calls.others == {second.state.node_calls.own_id})
                unreliable.freeze()
                try:
                    await until(lambda: not first.state.bus.is_up)
                    page = await orders.ask("GET", "/api/connections")
                    assert [each["user"] for each in page["connections"]] == ["alice"]
                    assert page["missing_nodes"] == [second.state.node_calls.own_id]
                    his = f"/api/connections/{of_bob.welcome['connection']}"
                    for method, path in (("DELETE", his), ("POST", "/api/users/bob/disconnect")):
                        answer = await orders.request(method, path)
                        assert (answer.status_code, answer.json()["name"]) == (503, "unavailable")
                        assert answer.headers["Retry-After"] == "1"
                        assert second.state.node_calls.own_id in answer.json()["message"]
                    mine = f"/api/connections/{of_alice.welcome['connection']}"
                    assert (await orders.request("DELETE", mine)).status_code == 204
                    await of_alice.expect("bye", code=4403)
                finally:
                    unreliable.thaw()
