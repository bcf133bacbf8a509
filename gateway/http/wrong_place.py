"""Answers requests and WebSockets at a path without a route of their kind.

Most come from a mistake in a URL, a client of another protocol, or a proxy that has dropped the upgrade of a
WebSocket. Each answer names the right path.
"""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.core.client_info import address_of
from gateway.http.errors import error_response, http_exception
from gateway.http.handshake_refusals import refuse_handshake
from gateway.state import state_of
from handlers.errors import MessageError, NotFound

CHAT_PATH = "/ws/chat"
SERVICE_PATH = "/ws/service"

# RFC 9110 §15.5.22 and §7.8.
_UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
_UPGRADE_REQUIRED = (
    "this is a WebSocket: connect with ws:// or wss://; if you have, a proxy on the way dropped the header Upgrade"
)


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request or WebSocket that no route takes, as an ASGI application."""
    if scope["type"] == "websocket":
        await _refuse(WebSocket(scope, receive, send))
    else:
        response = await _answer(HTTPConnection(scope))
        await response(scope, receive, send)


async def _refuse(ws: WebSocket) -> None:
    error: MessageError = NotFound(f"there is no WebSocket at this path; {_right_place(ws)}")
    try:
        state_of(ws).connections.check_connection_rate(address_of(ws))
    except MessageError as too_many:
        error = too_many
    await refuse_handshake(ws, error)


async def _answer(request: HTTPConnection) -> Response:
    if _path(request) in (CHAT_PATH, SERVICE_PATH):
        return await _upgrade_required(request)
    if _is_socket_io(request) or "sec-websocket-key" in request.headers:
        return error_response(NotFound(f"there is nothing at this path; {_right_place(request)}"))
    return error_response(NotFound("there is nothing at this path"))


async def _upgrade_required(request: HTTPConnection) -> Response:
    state_of(request).client_log.log(
        "a request for the WebSocket %s came without its upgrade; if a proxy is in front, let it pass the headers"
        " Upgrade and Connection on: `gateway settings nginx` prints how",
        _path(request),
    )
    return await http_exception(request, HTTPException(HTTPStatus.UPGRADE_REQUIRED, _UPGRADE_REQUIRED, _UPGRADE))


def _right_place(connection: HTTPConnection) -> str:
    wants_services = "service" in _path(connection).lower()
    place = connection.scope.get("root_path", "") + (SERVICE_PATH if wants_services else CHAT_PATH)
    if _is_socket_io(connection):
        return f"this is no Socket.IO server: open a plain WebSocket at {place}"
    return f"the WebSocket of services is at {place}" if wants_services else f"the WebSocket is at {place}"


def _is_socket_io(connection: HTTPConnection) -> bool:
    return _path(connection).startswith(("/socket.io", "/engine.io"))


def _path(connection: HTTPConnection) -> str:
    path: str = connection.scope["path"]
    return path.removeprefix(connection.scope.get("root_path", ""))
