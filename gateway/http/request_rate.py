"""Limits the requests of an address in a second."""

from collections.abc import Awaitable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.core.client_info import address_of
from gateway.http.errors import error_response
from gateway.http.framing import closing
from gateway.state import state_of
from handlers.errors import RateLimited

ALWAYS_ANSWERED = "/healthz"
"""The path without a limit: a monitor must not take the process for dead because of other clients at its address."""


class RequestRate:
    """Refuses the requests of an address over its rate.

    A refusal waits. If too many wait, the next one goes out at once and closes its connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    # No coroutine of its own: each wake-up of a WebSocket would pass through it.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request. Handshakes of WebSockets have a rate of their own."""
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) == ALWAYS_ANSWERED:
            return self.app(scope, receive, send)
        request = HTTPConnection(scope)
        address = address_of(request)
        try:
            state_of(request).connections.check_request_rate(address)
        except RateLimited as error:
            return self._refuse(scope, receive, send, address, error)
        return self.app(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, address: str, error: RateLimited) -> None:
        has_waited = await state_of(HTTPConnection(scope)).connections.delay_refusal(address)
        await error_response(error)(scope, receive, send if has_waited else closing(send))
