"""The dependencies that need no FastAPI, and those that do."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import pytest
from fastapi import Cookie, Depends, FastAPI, Header, Query, Request, WebSocket
from starlette.requests import HTTPConnection

from gateway.chat.authentication import websocket_authentication
from gateway.chat.endpoint import chat
from gateway.chat.plain_dependencies import PlainDependencies
from gateway.chat.websocket import GatewayWebSocket
from gateway.testing import Gateway


async def _texts(
    connection: HTTPConnection, token: Annotated[str | None, Query()] = None, other: str | None = None
) -> tuple[HTTPConnection, str | None, str | None]:
    return connection, token, other


async def _outer(texts: Annotated[tuple[Any, ...], Depends(_texts)], ws: WebSocket) -> tuple[Any, ...]:
    return (ws, *texts)


async def _endpoint(ws: GatewayWebSocket, outer: Annotated[tuple[Any, ...], Depends(_outer)]) -> None:
    """Serve nothing."""


@pytest.mark.parametrize(
    "query",
    ["", "token=a", "token=", "token", "token=a&token=b", "token=a+b%20c%26", "Token=a", "other=%FF&token=%00", "&=&"],
)
async def test_a_text_of_the_query_is_what_fastapi_makes_of_it(gateway: Gateway, query: str) -> None:
    theirs: list[Any] = []
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(ws: WebSocket, texts: Annotated[tuple[Any, ...], Depends(_texts)]) -> None:
        theirs.extend(texts[1:])

    scope = {"type": "websocket", "path": "/ws", "query_string": query.encode(), "headers": [], "subprotocols": []}
    await app(scope, _never, _never)
    ws = GatewayWebSocket(scope, _never, _never, gateway.settings, gateway.state.clock, Counter())
    plain = PlainDependencies.of(_endpoint)
    assert plain is not None
    arguments = await plain.solve(ws)
    assert arguments["ws"] is ws
    assert arguments["outer"] == (ws, ws, *theirs)


async def _never(*_: object) -> Any:
    raise AssertionError


def test_the_endpoint_of_the_gateway_needs_no_fastapi() -> None:
    plain = PlainDependencies.of(chat)
    assert plain is not None
    assert [call for call, _ in plain.calls.values()] == [websocket_authentication]


def _plain_function(token: str | None = None) -> None:
    """Return without a coroutine."""


async def _generator() -> AsyncIterator[int]:
    yield 1


async def _number(token: int | None = None) -> None: ...
async def _required(token: str) -> None: ...
async def _with_default(token: str | None = "x") -> None: ...
async def _alias(token: Annotated[str | None, Query(alias="t")] = None) -> None: ...
async def _short(token: Annotated[str | None, Query(max_length=3)] = None) -> None: ...
async def _header(token: Annotated[str | None, Header()] = None) -> None: ...
async def _cookie(token: Annotated[str | None, Cookie()] = None) -> None: ...
async def _request(request: Request) -> None: ...
async def _uncached(auth: Annotated[Any, Depends(_texts, use_cache=False)]) -> None: ...
async def _of_a_function(auth: Annotated[Any, Depends(_plain_function)]) -> None: ...
async def _of_a_generator(auth: Annotated[Any, Depends(_generator)]) -> None: ...
async def _of_a_header(auth: Annotated[Any, Depends(_header)]) -> None: ...
async def _by_default(auth: Any = Depends(_texts)) -> None: ...  # noqa: B008 - FastAPI's older form
async def _twice(one: Annotated[Any, Depends(_texts)], two: Annotated[Any, Depends(_texts)]) -> None: ...
async def _any_number(*tokens: str | None, **more: str | None) -> None: ...


@pytest.mark.parametrize(
    "endpoint",
    [
        *(_plain_function, _generator, _number, _required, _with_default, _alias, _short, _header, _cookie, _request),
        *(_uncached, _of_a_function, _of_a_generator, _of_a_header, _by_default, _twice, _any_number),
    ],
)
def test_everything_else_is_left_to_fastapi(endpoint: Callable[..., Awaitable[None]]) -> None:
    assert PlainDependencies.of(endpoint) is None
