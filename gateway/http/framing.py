"""HTTP's rules for requests, for servers that do not check them: one `Host`, and a clear end of the body.

`gateway serve` reads bodies correctly by itself. This module closes the gap under other servers.
"""

from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.http.errors import error_response
from handlers.errors import BadFrame, MessageError

_DOUBTFUL = frozenset({b"upgrade", b"expect"})


class Framing:
    """Refuses requests without one `Host`, and ends connections if the next request may be a body.

    A request that still offers an upgrade when it reaches an application was not upgraded. uvicorn with httptools takes
    its body for the next request. That request gets no answer if the connection ends with this one. A WebSocket
    handshake in the body may still open before that: SECURITY.md names this gap. After an early answer to a request
    that expects `100 Continue`, either its body or another request may follow.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    # No coroutine of its own: each wake-up of a WebSocket would pass through it.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request or connection."""
        if scope["type"] not in {"http", "websocket"}:
            return self.app(scope, receive, send)
        hosts = 0
        doubtful = False
        for name, _ in scope["headers"]:
            if name == b"host":
                hosts += 1
            elif name in _DOUBTFUL:
                doubtful = True
        # RFC 9112 §3.2. A request of HTTP/1.0 may have no `Host`.
        if hosts > 1 or (not hosts and scope.get("http_version", "1.1") == "1.1"):
            error = BadFrame(f"expected one Host header, got {hosts} (RFC 9112 section 3.2)")
            return refuse(scope, receive, send, error)
        if scope.get("method") == "CONNECT":
            return refuse(scope, receive, send, BadFrame("CONNECT is for proxies, and the gateway is none"))
        if doubtful and scope["type"] == "http":
            return self.app(scope, receive, closing(send))
        return self.app(scope, receive, send)


def closing(send: Send) -> Send:
    """Return a `send` that ends the connection after the answer."""

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("Connection", "close")
        await send(message)

    return send_and_close


async def refuse(scope: Scope, receive: Receive, send: Send, error: MessageError) -> None:
    """Answer a request, or the handshake of a WebSocket, with an error, and end its connection."""
    answer = error_response(error)
    if scope["type"] == "http":
        await answer(scope, receive, closing(send))
    elif "websocket.http.response" in scope.get("extensions", {}):
        await WebSocket(scope, receive, send).send_denial_response(answer)
    else:
        await WebSocket(scope, receive, send).close()
