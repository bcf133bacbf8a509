"""Which pages may open a WebSocket.

No browser asks before it opens one, and it sends the user's cookies along: without this check, any page that a user
looks at could speak in that user's name (CWE-1385). Programs that are no browsers send no `Origin`.
"""

import logging
from collections.abc import Container

from starlette.requests import HTTPConnection

from handlers.errors import Forbidden

logger = logging.getLogger(__name__)

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class ForbiddenOrigin(Forbidden):
    """A page from elsewhere; no credential makes up for that."""

    def __str__(self) -> str:
        return "pages of this origin may not connect; the operator names those that may in GATEWAY_ALLOWED_ORIGINS"


def check_origin(connection: HTTPConnection, allowed: Container[str]) -> None:
    """Raise `ForbiddenOrigin` for an `Origin` (RFC 6454 §7) that is neither allowed nor the gateway's own.

    Scheme, host and port count, character by character: a browser has one way of writing them. None at all is fine.
    """
    origins = connection.headers.getlist("origin")
    if not origins:
        return
    if len(origins) > 1 or (origins[0] not in allowed and origins[0] != own_origin(connection)):
        logger.info("refused the origin %.200r; the gateway's own is %.200r", origins, own_origin(connection))
        raise ForbiddenOrigin


def own_origin(connection: HTTPConnection) -> str | None:
    """Write the origin of the gateway's own pages, as this request has reached them; None without a clear `Host`.

    Behind a proxy that ends TLS the scheme is right if the proxy is one of `GATEWAY_TRUSTED_PROXIES` and sends
    `X-Forwarded-Proto`, and the host if it passes `Host` on.
    """
    hosts = connection.headers.getlist("host")
    if len(hosts) != 1 or not hosts[0]:
        return None
    scheme = "https" if connection.scope["scheme"] in {"https", "wss"} else "http"
    return f"{scheme}://{hosts[0].removesuffix(_DEFAULT_PORTS[scheme])}"
