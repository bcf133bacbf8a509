"""Limits the requests of an address in a second."""

from collections.abc import Awaitable
from dataclasses import dataclass

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

SERVICE_PATHS = ("/api/", "/hook/", "/token/introspect")
"""The beginnings of the paths for services. A service has a rate of its own, and many may share an address."""

_OF_SERVICE = "gateway.of_service"
"""The place in a request's scope for `_Origin`."""


@dataclass(slots=True)
class _Origin:
    """Where a request at a path for services comes from."""

    is_service: bool = False


def note_service(request: HTTPConnection) -> None:
    """Note that a request has a good credential of a service, so that it does not count for its address."""
    origin: _Origin | None = request.scope.get(_OF_SERVICE)
    if origin is not None:
        origin.is_service = True


class RequestRate:
    """Refuses the requests of an address over its rate. At paths for services, only those without a service count.

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
            if path.startswith(SERVICE_PATHS):
                connections.check_address(address)
                origin = scope[_OF_SERVICE] = _Origin()
                send = _charging(send, connections, address, origin)
            else:
                connections.check_request_rate(address)
        except RateLimited as error:
            return self._refuse(scope, receive, send, address, error)
        return self.app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, address: str, error: RateLimited) -> None:
        has_waited = await state_of(HTTPConnection(scope)).connections.delay_refusal(address)
        await error_response(error)(scope, receive, send if has_waited else closing(send))


def _charging(send: Send, connections: Connections, address: str, origin: _Origin) -> Send:
    """Return a `send` that counts a request once it is answered, unless it is a service's."""

    async def send_and_charge(message: Message) -> None:
        # A store that is away says nothing about a credential.
        if message["type"] == "http.response.start" and message["status"] < 500 and not origin.is_service:
            connections.charge_address(address)
        await send(message)

    return send_and_charge
