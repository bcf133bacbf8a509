"""The places of a connection's credential.

Each function looks in one place and returns the credential there: None without the place, and an empty text if the
place is empty, which no authorizer takes. `websocket_authentication` has the order.
"""

import re

from starlette.requests import HTTPConnection

from gateway.transport.subprotocols import CREDENTIALS, SUBPROTOCOL, plain
from handlers.errors import AuthenticationFailed

_BEARER_SUBPROTOCOL = "bearer."

_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.")
_HEADERS = ("access-token", "x-access-token", "x-auth-token")


def bearer(connection: HTTPConnection) -> str | None:
    """Return the token of an `Authorization: Bearer` header (RFC 6750 §2.1)."""
    # Not with `connection.headers`, an object that most connections need for nothing else.
    found = next((value for name, value in connection.scope["headers"] if name == b"authorization"), b"")
    scheme, _, token = found.decode("latin-1").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def bearer_subprotocol(connection: HTTPConnection) -> str | None:
    """Return the token of an offered subprotocol `bearer.<token>`: the one header that a page can set."""
    offered = [name for name in connection.scope["subprotocols"] if name.startswith(_BEARER_SUBPROTOCOL)]
    return offered[0].removeprefix(_BEARER_SUBPROTOCOL) if offered else None


def ticket(connection: HTTPConnection) -> str | None:
    """Return the ticket of the query."""
    return connection.query_params.get("ticket")


def misplaced(connection: HTTPConnection) -> str | None:
    """Return a text about a credential in a place that only other servers read, with the right place, or None.

    Only certain cases count: a client may have other parameters, headers and subprotocols.
    """
    if any(plain(name) in CREDENTIALS for name in connection.query_params):
        return "a parameter of the query that is not read; the parameter is `token`, or `ticket` for a ticket"
    if any(plain(name) in CREDENTIALS or _JWT.search(name) for name in connection.scope["subprotocols"]):
        return (
            f"a subprotocol that is not read; offer `{SUBPROTOCOL}`, and `{_BEARER_SUBPROTOCOL}` with the token behind"
        )
    if any(name in connection.headers for name in _HEADERS) or _is_bare_token(connection):
        return "a header that is not read; the header is `Authorization: Bearer` with the token behind it"
    return None


def _is_bare_token(connection: HTTPConnection) -> bool:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return _JWT.match(scheme) is not None or (plain(scheme) in CREDENTIALS and bool(token))


def cookie(connection: HTTPConnection, name: str) -> str | None:
    """Return the token of a cookie. Without an `Origin`, which the caller has checked, no cookie counts.

    Raises `AuthenticationFailed` for two of the same name. A neighbouring site of the same domain may have set one,
    and nothing shows which (RFC 6265 §8.6).
    """
    if not name or "origin" not in connection.headers:
        return None
    header = "; ".join(connection.headers.getlist("cookie"))
    pairs = [pair.strip().partition("=") for pair in header.split(";")]
    values = [value.strip('"') for key, _, value in pairs if key == name]
    if len(values) > 1:
        raise AuthenticationFailed(f"expected one cookie `{name}`, got {len(values)}")
    return values[0] if values else None
