"""`/api/users`: a backend looks users up, disconnects them and ends their sessions."""

import json
from typing import Any

import pytest

from schemas.services import CONNECTIONS, USERS
from tests.gateway.api.conftest import StartBackend
from tests.support.client import App

pytestmark = pytest.mark.both_stores


async def test_a_user_is_looked_up(app: App, backend: StartBackend, alice: str) -> None:
    async with backend(app.gateway, USERS) as orders:
        await app.register(alice)
        found = await orders.ask("GET", f"/api/users/{alice}")
        assert (found["user"], found["state"], found["disabled"]) == (alice, "offline", False)
        assert found["scopes"] == ["chat:read", "chat:write", "rooms:manage"]
        assert not {"password_hash", "password", "email"} & found.keys()
        async with app.connect(alice):
            assert (await orders.ask("GET", f"/api/users/{alice}"))["state"] == "online"


async def test_a_disconnected_user_may_come_back_but_not_by_itself(
    app: App, backend: StartBackend, alice: str, bob: str
) -> None:
    token = await app.token(alice)
    async with backend(app.gateway, USERS) as orders, app.connect(bob) as other:
        async with app.connect_with(token) as one, app.connect(alice) as two:
            assert await orders.ask("POST", f"/api/users/{alice}/disconnect") == {"closed": 2}
            for client in (one, two):
                await client.expect("bye", code=4403, reason="disconnected", reconnect="never")
                await client.expect_close(4403, "disconnected")
        assert await orders.ask("POST", f"/api/users/{alice}/disconnect") == {"closed": 0}
        async with app.connect_with(token) as client:
            await client.expect_nothing()
        await other.expect_nothing()


async def test_ended_sessions_end_tokens_and_connections(app: App, backend: StartBackend, alice: str) -> None:
    grant = await app.grant(alice)
    await app.grant(alice)
    async with backend(app.gateway, USERS) as orders, app.connect_with(grant["access_token"]) as client:
        assert await orders.ask("DELETE", f"/api/users/{alice}/sessions") == {"ended": 2}
        await client.expect_revoked()
        assert (await app.ask("GET", "/users/me", grant["access_token"])).json()["name"] == "token_revoked"
        assert (await app.refresh(grant["refresh_token"])).status_code == 401
        assert await orders.ask("DELETE", f"/api/users/{alice}/sessions") == {"ended": 0}
        async with app.connect(alice) as again:
            await again.expect_nothing()
        lines = (app.gateway.settings.data_dir / "audit.log").read_text().splitlines()
        acts = [entry for entry in map(json.loads, lines) if entry.get("user") == orders.sender]
        assert [(entry["event"], entry["of_user"], entry["ended"]) for entry in acts] == [
            ("user_sessions_ended", alice, 2),
            ("user_sessions_ended", alice, 0),
        ]


REQUESTS = (("GET", ""), ("POST", "/disconnect"), ("DELETE", "/sessions"))


async def test_the_scope_is_needed_and_no_room_pattern_is_enough(app: App, backend: StartBackend, alice: str) -> None:
    async with (
        backend(app.gateway, CONNECTIONS) as lacks_it,
        backend(app.gateway, USERS, rooms=["*-of-shop"]) as of_rooms,
        app.connect(alice) as client,
    ):
        for method, path in REQUESTS:
            refused = await lacks_it.refused(method, f"/api/users/{alice}{path}")
            assert (refused["status"], "`api:users`" in refused["message"]) == (40300, True)
            refused = await of_rooms.refused(method, f"/api/users/{alice}{path}")
            assert (refused["status"], "*-of-shop" in refused["message"]) == (40300, True)
            refused = (await app.ask(method, f"/api/users/{alice}{path}", await app.token(alice))).json()
            assert (refused["status"], "gateway services add" in refused["message"]) == (40300, True)
        await client.expect_nothing()


@pytest.mark.parametrize("name", ["nobody-there", "service:orders", "No", "a%00b", "..%2Fx"])
async def test_a_user_that_is_none_is_not_found(app: App, backend: StartBackend, name: str) -> None:
    async with backend(app.gateway, USERS) as orders:
        for method, path in REQUESTS:
            assert (await orders.refused(method, f"/api/users/{name}{path}"))["status"] in {40400, 42200}


async def test_a_batch_does_the_same(app: App, backend: StartBackend, alice: str, room: str) -> None:
    async with backend(app.gateway) as orders, app.in_room(alice, room) as client:
        mine: dict[str, Any] = {"connection": client.welcome["connection"]}
        operations = (
            ("user.read", {"user": alice}),
            ("connection.close", mine),
            ("connection.close", {"connection": "x"}),
            ("user.end_sessions", {"user": alice}),
            ("user.disconnect", {"user": "nobody-there"}),
        )
        items = [{"operation": operation, "data": data} for operation, data in operations]
        results = (await orders.ask("POST", "/api/batch", json={"items": items}))["results"]
        assert [each["status"] for each in results] == [20000, 20000, 42200, 20000, 40400]
        assert results[0]["data"]["user"] == alice
        await client.expect("bye", code=4403)
