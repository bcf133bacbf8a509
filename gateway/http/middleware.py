"""Adds to every request and connection an id, a log line with its time, and headers that keep browsers strict."""

import re
import secrets
import time
from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.client_info import address_in
from gateway.core.logs import client_address, client_request_id, request_id
from gateway.core.trace_context import current_trace, from_headers
from gateway.core.tracing import Tracing
from gateway.http.request_spans import serve_traced
from gateway.http.shared_routes import serving
from gateway.state import GatewayState

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class RequestContext:
    """Sets the id of each request and each WebSocket, for its log lines and its answer, and the path of the proxy.

    A request keeps its `X-Request-ID` if that is 8 to 64 of A-Z a-z 0-9 . _ -, so that no client can forge log lines
    with it. The id of a WebSocket is always our own, because it addresses the connection: no client may choose
    another's. Log lines have both.
    """

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self.app = app
        self.root_path = root_path

    # No coroutine of its own: each wake-up of a WebSocket would pass through it.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request or connection, in a task of its own."""
        if scope["type"] not in {"http", "websocket"}:
            return self.app(scope, receive, send)
        if self.root_path:
            # With it, routes match and URLs are right whether or not the proxy cuts it off the path.
            scope["root_path"] = self.root_path
        given = _given_id(scope)
        own = secrets.token_hex(8) if given is None or scope["type"] == "websocket" else given
        began = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] in {
                "http.response.start",
                "websocket.http.response.start",
                "websocket.accept",
            }:
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = own
                if message["type"] != "websocket.accept":
                    headers["Server-Timing"] = f"app;dur={(time.perf_counter() - began) * 1000:.1f}"
                    headers["X-Content-Type-Options"] = "nosniff"
                    # The URL of the page, or of the API's documentation, may one day hold a token.
                    headers["Referrer-Policy"] = "no-referrer"
                if message["type"] == "http.response.start":
                    _count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        request_id.set(own)
        client_request_id.set(given if own != given else None)
        client_address.set(address_in(scope))
        serving.set(scope["app"])
        state = scope["state"]["gateway"]
        if state.request_watch.watched:
            state.request_watch.note(own, scope)
        tracing: Tracing | None = state.tracing
        if tracing is not None:
            return serve_traced(tracing, self.app, scope, receive, send_with_headers)
        if scope["type"] == "http":
            current_trace.set(from_headers(scope["headers"]))
        return self.app(scope, receive, send_with_headers)


def _count(scope: Scope, status: int, seconds: float) -> None:
    state = scope.get("state", {}).get("gateway")
    if isinstance(state, GatewayState):
        # The path of the route, and never that of the request: a client may make up any number of those.
        route = getattr(scope.get("route"), "path_format", None)
        state.counters.requests[route if isinstance(route, str) else ""].add_answer(seconds, status)


def _given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return None
