"""What lies around the endpoint of a WebSocket, and what does not."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from gateway.app import create_app
from gateway.chat.authentication import websocket_authentication
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.server import Gateway

MOST_COROUTINES = 8
"""Of uvicorn, of the short way, and of our own around the wait for a message. FastAPI and Starlette alone have 20."""


class Counting:
    """A middleware, as somebody might add it."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        await self.app(scope, receive, send)


async def test_a_connection_that_waits_keeps_few_coroutines(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.connect("alice"):
        depths = await gateway.run(_depths_of_connections())
        assert len(depths) == 1
        assert depths[0] <= MOST_COROUTINES


async def _depths_of_connections() -> list[int]:
    coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
    return [_depth(each) for each in coroutines if each.__qualname__.endswith("run_asgi")]


def _depth(coroutine: Any) -> int:
    depth = 0
    while coroutine is not None:
        depth += 1
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return depth


async def test_middleware_that_is_added_sees_websockets(gateway: Gateway) -> None:
    app = create_app(gateway.settings)
    seen: list[str] = []
    app.add_middleware(Counting, seen=seen)
    assert await _connect_with_a_wrong_token(app, gateway) == [
        "websocket.accept",
        "websocket.send",
        "websocket.send",
        "websocket.close",
    ]
    assert seen == ["/ws/chat"]


async def test_a_dependency_can_be_overridden_as_anywhere_in_fastapi(gateway: Gateway) -> None:
    app = create_app(gateway.settings)

    async def nobody() -> None:
        raise WebSocketDisconnect

    app.dependency_overrides[websocket_authentication] = nobody
    assert await _connect_with_a_wrong_token(app, gateway) == []


async def _connect_with_a_wrong_token(app: ASGIApp, gateway: Gateway) -> list[str]:
    """Give the types of all that the application sends."""
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {
        "type": "websocket",
        "path": "/ws/chat",
        "query_string": b"token=wrong",
        "headers": [(b"host", b"localhost")],
        "subprotocols": [],
        "state": {"gateway": gateway.state},
    }
    await app(scope, receive, send)
    return sent


async def test_the_endpoint_is_found_below_the_path_that_the_server_is_given(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(options={"root_path": "/gateway"})
    async with App(gateway) as app, app.connect("alice") as client:
        await client.expect_nothing()
