"""The pages that may read the answers of the HTTP API (CORS): those that may open a WebSocket."""

from collections.abc import Awaitable

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.config.allowed_origins import AllowedOrigins, normalized_origin
from gateway.core.folding import FoldedLog
from gateway.http.origins import log_refusal, own_origin
from gateway.http.request_rate import RequestRate


class PageAccess(CORSMiddleware):
    """Starlette's CORS with the gateway's list, and a log line for each page that cannot read its answer."""

    def __init__(self, app: ASGIApp, origins: AllowedOrigins, log: FoldedLog) -> None:
        super().__init__(
            app,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Server-Timing", "Retry-After"],
        )
        self._origins = origins
        self._log = log
        self._preflights = RequestRate(super().__call__)  # this class answers them, so no other count sees them

    # No coroutine around a WebSocket: each wake-up would pass through it.
    def __call__(  # type: ignore[override] # an ASGI server needs only an awaitable
        self, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Serve one request; a WebSocket checks its own origin."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        request = HTTPConnection(scope)
        self._note(request)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in request.headers:
            return self._preflights(scope, receive, send)
        return super().__call__(scope, receive, send)

    def is_allowed_origin(self, origin: str) -> bool:
        """Return whether a page of this origin may read the answer."""
        return self._origins.allows(origin)

    def _note(self, request: HTTPConnection) -> None:
        origin = request.headers.get("origin")
        if origin is None or self._origins.allows(origin):
            return
        own = own_origin(request)
        # The gateway's own page needs no CORS, even if a proxy ends TLS.
        if own is None or _place(normalized_origin(origin)) != _place(own):
            log_refusal(origin, own, self._origins, self._log)


def _place(origin: str | None) -> str | None:
    return None if origin is None else origin.partition("://")[2]
