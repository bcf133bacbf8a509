"""The spans of HTTP requests and of handshakes, as OpenTelemetry's conventions for HTTP describe them.

A span has the template of its route and never the path, which may have a room, a user, or the key of an incoming
webhook. The probes of operators have no spans.
"""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.trace_context import TraceContext, from_headers
from gateway.core.tracing import Span, Tracing, Value

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

handshake: ContextVar[TraceContext | None] = ContextVar("handshake", default=None)
"""The span of the handshake that has opened the current connection."""


def serve_traced(tracing: Tracing, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Serve a request or a connection, with a span for the request or the handshake."""
    if scope["type"] == "websocket":
        return _serve_connection(tracing, app, scope, receive, send)
    if scope["path"].removeprefix(scope.get("root_path", "")) in PROBES:
        return app(scope, receive, send)
    return _serve_request(tracing, app, scope, receive, send)


async def _serve_request(tracing: Tracing, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    span = _start(tracing, "HTTP" if method == "_OTHER" else method, scope, {"http.request.method": method})

    async def send_noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            _note_status(span, message["status"])
        await send(message)

    try:
        with tracing.within(span):
            await app(scope, receive, send_noted)
    except BaseException as error:
        span.fail(type(error).__name__, is_fault=isinstance(error, Exception))
        raise
    finally:
        if (route := _route(scope)) is not None:
            span.rename(f"{method} {route}")
            span.set({"http.route": route})
        span.end()


def _serve_connection(tracing: Tracing, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Serve a connection without a coroutine around it: each message would pass through that."""
    attributes = {"http.request.method": "GET", "network.protocol.name": "websocket"}
    route = _route(scope)  # none for a path that is no endpoint of the gateway's
    known = {} if route is None else {"http.route": route}
    span = _start(tracing, "GET" if route is None else f"GET {route}", scope, attributes | known)
    handshake.set(span.context)
    task = asyncio.current_task()
    if task is not None:
        task.add_done_callback(lambda _: span.end())  # if the client is gone before its answer

    async def send_noted(message: Message) -> None:
        if message["type"] in _ANSWERS:
            _note_status(span, message.get("status", _ANSWERS[message["type"]]))
            span.end()
        await send(message)

    return app(scope, receive, send_noted)


_ANSWERS = {"websocket.accept": 101, "websocket.http.response.start": 403, "websocket.close": 403}
"""The events that answer a handshake, with the status that each stands for."""


def _start(tracing: Tracing, name: str, scope: Scope, attributes: dict[str, str]) -> Span:
    common: dict[str, Value] = {"url.scheme": scope.get("scheme", "http"), "gateway.node.id": _node(scope)}
    return tracing.start(name, "server", common | attributes, parent=from_headers(scope["headers"]))


def _node(scope: Scope) -> str:
    node: str = scope["state"]["gateway"].bus.node
    return node


def _note_status(span: Span, status: int) -> None:
    span.set({"http.response.status_code": status})
    if status >= 400:
        span.fail(str(status), is_fault=status >= 500)


def _route(scope: Scope) -> str | None:
    """Return the template of the route that has served a request, or None if there was none."""
    path = getattr(scope.get("route"), "path_format", None)
    return path if isinstance(path, str) else None
