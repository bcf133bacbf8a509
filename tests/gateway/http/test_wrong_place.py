"""Clients at a wrong path learn where the right one is, and the operator learns what is wrong."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import OwnGateway
from tests.support.client import WAIT_SECONDS, App, ChatClient

# The rest of a handshake after a proxy has dropped the headers of one hop (RFC 9110 §7.6.1).
LOST = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}

WRONG = [
    *(
        "/",
        "/ws",
        "/ws/",
        "/ws/chat/",
        "//ws/chat",
        "/ws//chat",
        "/WS/CHAT",
        "/chat",
        "/users",
        "/token",
        "/ws/chat/lobby",
    ),
    *("/%77s/chat/", "/gateway/ws/chat", "/ws/chat%00", "/a" * 2000),
]


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path[:20])
async def test_a_websocket_at_a_wrong_path_is_told_the_right_one(app: App, path: str) -> None:
    async with connect(f"{app.gateway.ws_url}{path}?token=x", compression=None) as ws:
        client = ChatClient(ws)
        error = await client.expect("error", id=None, status=40400, name="not_found", retryable=False)
        assert error["message"] == "there is no WebSocket at this path; the WebSocket is at /ws/chat"
        await client.expect("bye", code=1008, reason="not_found", reconnect="never")
        await client.expect_close(1008, "not_found")


@pytest.mark.parametrize("path", ["/ws/services", "/service", "/ws/service/", "/WS/Service"])
async def test_a_worker_at_a_wrong_path_is_told_its_own(app: App, path: str) -> None:
    async with connect(f"{app.gateway.ws_url}{path}", compression=None) as ws:
        error = await ChatClient(ws).expect("error", status=40400)
        assert error["message"].endswith("the WebSocket of services is at /ws/service")


async def test_a_client_of_socket_io_is_told_that_this_is_none(app: App) -> None:
    told = "this is no Socket.IO server: open a plain WebSocket at /ws/chat"
    async with connect(f"{app.gateway.ws_url}/socket.io/?EIO=4&transport=websocket", compression=None) as ws:
        client = ChatClient(ws)
        assert told in (await client.expect("error", status=40400))["message"]
        await client.expect("bye", reason="not_found")
    response = await app.http.get("/socket.io/?EIO=4&transport=polling&t=x")
    assert (response.status_code, response.json()["status"]) == (404, 40400)
    assert told in response.json()["message"]


async def test_it_is_a_plain_404_where_refusals_are_plain(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(handshake_rejection="http", root_path="/gateway")) as app:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{app.gateway.ws_url}/ws"):
                pass
        assert refused.value.response.status_code == 404
        assert json.loads(refused.value.response.body)["message"].endswith("the WebSocket is at /gateway/ws/chat")


async def test_wrong_paths_count_as_connections_do(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(connection_rate=1)) as app:
        app.gateway.clock.stop()
        seen = []
        for _ in range(2):
            async with connect(f"{app.gateway.ws_url}/ws", compression=None) as ws:
                seen.append((await ChatClient(ws).expect("error"))["status"])
        assert seen == [40400, 42900]


@pytest.mark.parametrize("root", ["", "/gateway"])
async def test_a_plain_request_for_the_socket_is_told_that_its_upgrade_is_missing(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture, root: str
) -> None:
    async with App(own_gateway(root_path=root)) as app:
        for method in ("HEAD", "POST", "OPTIONS", "GET"):
            response = await app.http.request(method, f"{root}/ws/chat?token=x", headers=LOST)
            assert response.status_code == 426
            assert (response.headers["Upgrade"], response.headers["Connection"]) == ("websocket", "Upgrade")
        body = response.json()
        assert (body["status"], body["name"]) == (42600, "upgrade_required")
        assert "proxy" in body["message"]
    [line] = caplog.messages
    assert "let it pass the headers Upgrade and Connection on" in line


async def test_a_lost_upgrade_at_a_wrong_path_is_told_the_right_one_too(app: App) -> None:
    response = await app.http.get("/ws", headers=LOST)
    assert response.status_code == 404
    assert response.json()["message"] == "there is nothing at this path; the WebSocket is at /ws/chat"


async def test_ten_wrong_clients_leave_the_right_one_alone(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(test_a_websocket_at_a_wrong_path_is_told_the_right_one(app, "/ws"))
        await client.expect_nothing()
