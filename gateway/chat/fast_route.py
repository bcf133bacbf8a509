"""The short way of a WebSocket to its endpoint: it uses only FastAPI's solver of dependencies.

FastAPI and Starlette put some twenty coroutines around an endpoint, for errors, bodies, routes and exit stacks. Around
a WebSocket they do almost nothing while it is open. Yet they hold 12 KB for each connection, and take 80 µs at its
start and a microsecond for each message. Here there are two coroutines.

The application's middleware still runs. FastAPI's own telemetry does not see these WebSockets. Dependencies that are
generators end before the endpoint begins, and not after it.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from inspect import signature
from typing import Any

import fastapi
from fastapi import APIRouter, FastAPI
from fastapi.dependencies.utils import solve_dependencies
from fastapi.routing import APIWebSocketRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from gateway.chat.websocket import GatewayWebSocket
from gateway.config.proxies import TrustedProxies
from gateway.core.logs import request_id
from gateway.core.start_error import StartError
from gateway.http.errors import http_exception
from gateway.http.framing import refuse
from gateway.http.handshake_refusals import refuse_handshake
from gateway.state import GatewayState
from handlers.errors import AuthenticationFailed, InternalError, MessageError, Unavailable
from schemas.codes import Close

logger = logging.getLogger(__name__)


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
    """FastAPI with a short way to the endpoints of a router. Their WebSockets are `GatewayWebSocket`s."""

    def __init__(self, websockets: APIRouter, *, proxies: TrustedProxies, proxy_path: str, **options: Any) -> None:
        """Take as `proxy_path` the prefix that a proxy may leave before the paths of the routes."""
        super().__init__(**options)
        self._proxies = proxies
        _check_fastapi()
        routes = [route for route in websockets.routes if isinstance(route, APIWebSocketRoute)]
        self._routes = {prefix + route.path: route for route in routes for prefix in ("", proxy_path)}
        self._first: ASGIApp | None = None
        self.running: Running | None = None
        """What a publisher needs, while the application runs."""

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


def _check_fastapi() -> None:
    """Raise `StartError` unless FastAPI's private solver of dependencies works as this module needs."""
    if not signature(solve_dependencies).parameters.keys() >= _ARGUMENTS:
        raise StartError(
            f"FastAPI {fastapi.__version__} solves dependencies in another way than this version of the gateway knows;"
            " upgrade the gateway, or install the FastAPI of before"
        )


_ARGUMENTS = {"request", "dependant", "dependency_overrides_provider", "async_exit_stack", "embed_body_fields"}


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    route: APIWebSocketRoute = scope["route"]
    state: GatewayState = scope["state"]["gateway"]
    ws = GatewayWebSocket(scope, receive, send, state.settings, state.clock)
    try:
        await route.endpoint(**await _solve(route, ws))
    except MessageError as error:
        await refuse_handshake(ws, error)
    except WebSocketDisconnect:
        pass  # the connection ended before its log-in, so no client awaits an answer
    except HTTPException as error:  # from a dependency that an application has put in the place of ours
        await ws.send_denial_response(await http_exception(ws, error))
    except Exception:
        logger.exception("a handshake failed")
        ws.close_reason = Close.INTERNAL_ERROR
        await refuse_handshake(ws, InternalError(request_id.get()))
    finally:
        ws.log_end()


async def _solve(route: APIWebSocketRoute, ws: GatewayWebSocket) -> dict[str, Any]:
    """Return the endpoint's arguments, or raise a dependency's exception."""
    async with AsyncExitStack() as stack:
        ws.scope["fastapi_inner_astack"] = ws.scope["fastapi_function_astack"] = stack
        solved = await solve_dependencies(
            request=ws,
            dependant=route.dependant,
            dependency_overrides_provider=ws.scope["app"],
            async_exit_stack=stack,
            embed_body_fields=False,
        )
    del ws.scope["fastapi_inner_astack"], ws.scope["fastapi_function_astack"]
    if solved.errors:
        raise AuthenticationFailed("expected `token` as text")
    return solved.values
