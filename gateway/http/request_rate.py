"""Limits the requests of an address in a second."""

from collections.abc import Awaitable, Mapping

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.connections.registry import Connections
from gateway.core.client_info import address_of
from gateway.http.errors import error_response
from gateway.http.framing import closing
from gateway.state import state_of
from handlers.errors import RateLimited

ALWAYS_ANSWERED = "/healthz"
"""The path without a limit: a monitor must not take the process for dead because of other clients at its address."""

SERVICES: Mapping[str, frozenset[int]] = {
    "/api/": frozenset({401, 403}),
    "/hook/": frozenset({404}),
    "/token/introspect": frozenset({401, 403}),
}
"""The beginnings of the paths for services, each with the answers to a wrong credential.

A service has a rate of its own, and many services may share an address.
"""


class RequestRate:
    """Refuses the requests of an address over its rate. Of requests for services, only the refused ones count.

    A refusal waits. If too many wait, the next one goes out at once and closes its connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    # No coroutine of its own: each wake-up of a WebSocket would pass through it.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request. Handshakes of WebSockets have a rate of their own."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == ALWAYS_ANSWERED:
            return self.app(scope, receive, send)
        request = HTTPConnection(scope)
        address, connections = address_of(request), state_of(request).connections
        try:
            if refused := _refusals(path):
                connections.check_address(address)
                send = _charging(send, connections, address, refused)
            else:
                connections.check_request_rate(address)
        except RateLimited as error:
            return self._refuse(scope, receive, send, address, error)
        return self.app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, address: str, error: RateLimited) -> None:
        has_waited = await state_of(HTTPConnection(scope)).connections.delay_refusal(address)
        await error_response(error)(scope, receive, send if has_waited else closing(send))


def _refusals(path: str) -> frozenset[int]:
    return next((refused for beginning, refused in SERVICES.items() if path.startswith(beginning)), frozenset())


def _charging(send: Send, connections: Connections, address: str, refused: frozenset[int]) -> Send:
    """Return a `send` that counts a request once it is refused."""

    async def send_and_charge(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] in refused:
            connections.charge_address(address)
        await send(message)

    return send_and_charge
