"""The layers around the endpoint of a WebSocket, and those that are left out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, WebSocket, WebSocketException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from gateway.app import create_app
from gateway.auth.authorizers import AuthResult
from gateway.chat.authentication import websocket_authentication
from gateway.http.errors import add_error_handlers
from gateway.testing import Gateway
from schemas.codes import Close
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import until

MOST_COROUTINES = 8
"""Those of uvicorn, of the fast route, and of the wait for a message. FastAPI and Starlette alone have 20."""


class Counting:
    """A middleware, as an application might add it."""

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
    """Return the types of all that the application sends."""
    return [message["type"] for message in await _messages(app, gateway)]


async def _messages(app: ASGIApp, gateway: Gateway) -> list[dict[str, Any]]:
    """Return all that the application sends to a connection with a wrong token."""
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/ws/chat",
        "query_string": b"token=wrong",
        "headers": [(b"host", b"localhost")],
        "subprotocols": [],
        "state": {"gateway": gateway.state},
        "extensions": {"websocket.http.response": {}},
    }
    await app(scope, receive, send)
    return sent


async def test_the_endpoint_is_found_below_the_path_that_the_server_is_given(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(options={"root_path": "/gateway"})
    async with App(gateway) as app, app.connect("alice") as client:
        await client.expect_nothing()


class _Sold(Exception):
    """An error of an application's own."""


async def _sold(_: HTTPConnection, __: Exception) -> JSONResponse:
    return JSONResponse({"sold": True}, status_code=410)


async def _raise(error: Exception) -> None:
    raise error


async def _number(number: int) -> None:
    """Require a number in the query."""


def _raising(error: Exception) -> Callable[[], Awaitable[None]]:
    return partial(_raise, error)


@pytest.mark.parametrize(
    "dependency",
    [
        _raising(HTTPException(403, "not here", {"X-Why": "because"})),
        _raising(HTTPException(404)),
        _raising(HTTPException(418, {"any": ["json"]})),
        _raising(HTTPException(402)),
        _raising(WebSocketException(4001, "come back with a ticket")),
        _raising(_Sold()),
        _number,
    ],
    ids=["refused", "not found", "teapot", "status with a handler", "websocket", "own error", "wrong parameter"],
)
async def test_what_an_overriding_dependency_raises_is_answered_as_fastapi_does(
    gateway: Gateway, dependency: Callable[..., Any]
) -> None:
    ours, theirs = create_app(gateway.settings), FastAPI()
    add_error_handlers(theirs)

    @theirs.websocket("/ws/chat")
    async def endpoint(ws: WebSocket, auth: Annotated[AuthResult, Depends(websocket_authentication)]) -> None:
        raise AssertionError

    for app in (ours, theirs):
        app.dependency_overrides[websocket_authentication] = dependency
        app.add_exception_handler(_Sold, _sold)
        app.add_exception_handler(402, _sold)
    answer, expected = await _messages(ours, gateway), await _messages(theirs, gateway)
    if "headers" in answer[0]:  # the middleware adds some
        names = {name for name, _ in expected[0]["headers"]}
        answer[0]["headers"] = [pair for pair in answer[0]["headers"] if pair[0] in names]
    assert answer == expected
    assert answer[0]["type"] in {"websocket.http.response.start", "websocket.close"}


async def test_an_error_that_no_handler_takes_is_an_internal_one(gateway: Gateway) -> None:
    app = create_app(gateway.settings)
    app.dependency_overrides[websocket_authentication] = _raising(ZeroDivisionError())
    *_, last = await _messages(app, gateway)
    assert (last["type"], last["code"]) == ("websocket.close", Close.INTERNAL_ERROR.code)


async def test_a_dependency_that_is_a_generator_ends_after_the_conversation(own_gateway: OwnGateway) -> None:
    marks: list[str] = []

    async def authenticate(connection: WebSocket, token: str | None = None) -> AuthResult:
        return await websocket_authentication(connection, token)

    async def marked(auth: Annotated[AuthResult, Depends(authenticate)]) -> AsyncIterator[AuthResult]:
        marks.append("begin")
        yield auth
        marks.append("end")

    def extend(app: FastAPI) -> None:
        app.dependency_overrides[websocket_authentication] = marked

    gateway = own_gateway(extend=extend)
    async with App(gateway) as app, app.connect("alice") as client:
        await client.ask("ping")
        assert marks == ["begin"]
    await until(lambda: marks == ["begin", "end"])
