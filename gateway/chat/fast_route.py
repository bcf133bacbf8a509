"""The fast route of a WebSocket to its endpoint, past the layers of FastAPI and Starlette.

They put some twenty coroutines around an endpoint, for errors, bodies, routes and exit stacks. Around an open WebSocket
they have next to nothing to do. They hold 12 KB for each connection, and take a microsecond whenever a message wakes
the endpoint up. So the endpoint runs without them, as long as its dependencies are plain (`plain_dependencies`).

With other dependencies, or if an application overrides one, the endpoint runs in FastAPI's whole route: a dependency
may be a generator, which must end after the conversation. Middleware that is added to the application is kept.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from threading import Lock
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIWebSocketRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.chat.plain_dependencies import PlainDependencies
from gateway.chat.websocket import SCOPE_KEY, GatewayWebSocket
from gateway.config.proxies import TrustedProxies
from gateway.core.logs import request_id
from gateway.http.framing import refuse
from gateway.http.handshake_refusals import refuse_handshake
from gateway.routes.model import Route
from gateway.state import GatewayState
from handlers.errors import InternalError, MessageError, Unavailable
from handlers.registry import Registry
from schemas.codes import Close

logger = logging.getLogger(__name__)

Endpoint = Callable[..., Awaitable[None]]

Describe = Callable[[dict[str, Any]], dict[str, Any]]
"""A function that adds to the description of an API."""


class NotStarted(Unavailable):
    """The server has not run the application's lifespan."""

    def __init__(self) -> None:
        super().__init__("gateway")

    def __str__(self) -> str:
        return (
            "this gateway has not started: nothing has run its lifespan; no server runs that of a mounted application,"
            " so replace `app.mount(path, gateway)` by `attach(app, path)` of `gateway.embedding`"
        )


@dataclass(frozen=True)
class Running:
    """What an application has built, and the event loop that it belongs to."""

    state: GatewayState
    loop: asyncio.AbstractEventLoop


class FastWebSocketApp(FastAPI):
    """FastAPI with a fast route to the endpoints of some routers. Their WebSockets are `GatewayWebSocket`s."""

    def __init__(
        self,
        websockets: Sequence[APIRouter],
        *,
        proxies: TrustedProxies,
        proxy_path: str,
        describe: Describe,
        registry: Registry,
        current_routes: Callable[[], Sequence[Route]],
        **options: Any,
    ) -> None:
        """Take as `proxy_path` the prefix that a proxy may leave before the paths of the routes.

        `describe` adds to FastAPI's description of the routes. `registry` and `current_routes` are what the gateway
        understands, for other descriptions of it.
        """
        super().__init__(**options)
        self._describe = describe
        self._describing = Lock()
        """Threads that make documents may ask at once, and none may see the description half made."""
        self.registry = registry
        self.current_routes = current_routes
        self._proxies = proxies
        routes = [route for router in websockets for route in router.routes if isinstance(route, APIWebSocketRoute)]
        self._routes = {prefix + route.path: _FastRoute(route, self) for route in routes for prefix in ("", proxy_path)}
        self._first: ASGIApp | None = None
        self.running: Running | None = None
        """What a publisher needs, while the application runs."""

    def describe_anew(self) -> None:
        """Make the description again when it is next needed."""
        self.openapi_schema = None

    def openapi(self) -> dict[str, Any]:
        """Return the description of the API, which is made when it is first needed."""
        with self._describing:
            if not self.openapi_schema:
                self.openapi_schema = self._describe(super().openapi())
            return self.openapi_schema

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a connection."""
        route = None
        if scope["type"] != "lifespan":
            # What an application that mounts this one calls `gateway` may be something else.
            if not isinstance(scope.get("state", {}).get("gateway"), GatewayState):
                await refuse(scope, receive, send, NotStarted())
                return
            self._proxies.apply(scope)  # before all middleware, so that every part sees the same address
        if scope["type"] == "websocket":
            route = self._routes.get(scope["path"].removeprefix(scope.get("root_path", "")))
        if route is None:
            await super().__call__(scope, receive, send)
            return
        if self._first is None:
            self._first = self._with_middleware(_serve)
        scope["app"], scope["route"] = self, route
        await self._first(scope, receive, send)

    def _with_middleware(self, app: ASGIApp) -> ASGIApp:
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        return app


class _FastRoute(APIWebSocketRoute):
    """A route of FastAPI's, and the way past it."""

    def __init__(self, route: APIWebSocketRoute, app: FastAPI) -> None:
        super().__init__(
            route.path,
            _running(route.endpoint),
            dependencies=route.dependencies,
            dependency_overrides_provider=app,
        )
        self.converse: Endpoint = route.endpoint
        self._plain = None if route.dependencies else PlainDependencies.of(route.endpoint)
        self._app = app

    @property
    def plain(self) -> PlainDependencies | None:
        """Return what the endpoint depends on, or None if FastAPI must solve it."""
        return None if self._app.dependency_overrides else self._plain

    async def run(self, ws: GatewayWebSocket) -> None:
        """Run the endpoint in FastAPI's route, or raise what it or a dependency raises."""
        # In a copy of the scope, since FastAPI leaves things in it.
        await self.handle({**ws.scope, SCOPE_KEY: ws}, ws.receive, ws.send)


def _running(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint with the same parameters, which passes the gateway's WebSocket to this one."""

    @wraps(endpoint)
    async def run(**arguments: Any) -> None:
        await endpoint(
            **{
                name: GatewayWebSocket.of(value) if isinstance(value, WebSocket) else value
                for name, value in arguments.items()
            }
        )

    return run


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    route: _FastRoute = scope["route"]
    state: GatewayState = scope["state"]["gateway"]
    ws = GatewayWebSocket(scope, receive, send, state.settings, state.clock, state.counters.unread, state.taps)
    try:
        if (plain := route.plain) is None:
            await route.run(ws)
        else:
            await route.converse(**await plain.solve(ws))
    except MessageError as error:
        await refuse_handshake(ws, error)
    except WebSocketDisconnect:
        pass  # the connection ended before its log-in, so no client awaits an answer
    except Exception as error:
        await _answer_unexpected(ws, error)
    finally:
        ws.log_end()


async def _answer_unexpected(ws: GatewayWebSocket, error: Exception) -> None:
    """Answer an error as the application's handlers of exceptions do, or as an internal one if there is none."""
    try:
        await _answer_as_fastapi(ws, error)
    except Exception:
        logger.exception("a handshake failed")
        ws.close_reason = Close.INTERNAL_ERROR
        await refuse_handshake(ws, InternalError(request_id.get()))


async def _answer_as_fastapi(ws: GatewayWebSocket, error: Exception) -> None:
    """Answer `HTTPException`, `WebSocketException` and what else has a handler, or raise the error again."""

    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    handlers = ws.scope["app"].exception_handlers
    # Those of any exception are no part of this: Starlette has them outside of all middleware.
    specific = {key: handler for key, handler in handlers.items() if key not in (500, Exception)}
    with suppress(WebSocketDisconnect):  # the client may be gone
        await ExceptionMiddleware(fail, specific)(dict(ws.scope), ws.receive, ws.send)
