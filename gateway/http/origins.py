"""Checks which pages may open a WebSocket.

A browser opens one without a question, and sends the user's cookies along. Without this check, any page that a user
visits could act in that user's name (CWE-1385). Other programs send no `Origin`, or one of their own.
"""

from starlette.requests import HTTPConnection

from gateway.config.allowed_origins import AllowedOrigins, normalized_origin
from gateway.core.folding import FoldedLog
from handlers.errors import Forbidden


class ForbiddenOrigin(Forbidden):
    """A page of another origin."""

    def __str__(self) -> str:
        return "pages of this origin may not connect; the operator names those that may in GATEWAY_ALLOWED_ORIGINS"


def check_origin(connection: HTTPConnection, allowed: AllowedOrigins, log: FoldedLog) -> None:
    """Raise `ForbiddenOrigin` for an `Origin` (RFC 6454 §7) that is neither allowed nor the gateway's own.

    A missing one is fine: only a browser can be tricked into acting for its user, and it always sends one.
    """
    origins = [value.decode("latin-1") for name, value in connection.scope["headers"] if name == b"origin"]
    if not origins:
        return
    own = own_origin(connection)
    if len(origins) == 1 and (allowed.allows(origins[0]) or (own is not None and normalized_origin(origins[0]) == own)):
        return
    log_refusal(", ".join(origins), own, allowed, log)
    raise ForbiddenOrigin


def own_origin(connection: HTTPConnection) -> str | None:
    """Return the origin of the gateway's own pages for this request, or None without a clear `Host`.

    Behind a proxy that ends TLS, the scheme is right if the proxy is one of `GATEWAY_TRUSTED_PROXIES` and sends
    `X-Forwarded-Proto`. The host is right if the proxy passes `Host` on.
    """
    hosts = connection.headers.getlist("host")
    return normalized_origin(f"{connection.scope['scheme']}://{hosts[0]}") if len(hosts) == 1 and hosts[0] else None


def log_refusal(origin: str, own: str | None, allowed: AllowedOrigins, log: FoldedLog) -> None:
    """Log the refused origin, and the setting that would allow it."""
    line = allowed.line_to_add(origin)
    log.log(
        "refused a page of the origin %.200a; the gateway's own is %s; %s",
        origin,
        own,
        "no setting can allow it" if line is None else f"if it is yours, add {line}",
    )
