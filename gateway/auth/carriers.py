"""Where a connection carries its credential.

Each function looks in one place and gives what it finds there: None if nothing, and an empty text if the place is
there and empty, which no authorizer takes. `websocket_authentication` has the order.
"""

from starlette.requests import HTTPConnection

from handlers.errors import AuthenticationFailed

SUBPROTOCOL = "gateway.v1"
_BEARER_SUBPROTOCOL = "bearer."


def bearer(connection: HTTPConnection) -> str | None:
    """Find the token of an `Authorization: Bearer` header (RFC 6750 §2.1)."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def bearer_subprotocol(connection: HTTPConnection) -> str | None:
    """Find the token of an offered subprotocol `bearer.<token>`: the one header that a browser's page can choose."""
    offered = [name for name in connection.scope["subprotocols"] if name.startswith(_BEARER_SUBPROTOCOL)]
    return offered[0].removeprefix(_BEARER_SUBPROTOCOL) if offered else None


def chosen_subprotocol(connection: HTTPConnection) -> str | None:
    """Choose among the offered subprotocols (RFC 6455 §4.2.2): ours or none, and never the one that is a secret."""
    return SUBPROTOCOL if SUBPROTOCOL in connection.scope["subprotocols"] else None


def ticket(connection: HTTPConnection) -> str | None:
    """Find the ticket of the query."""
    return connection.query_params.get("ticket")


def cookie(connection: HTTPConnection, name: str) -> str | None:
    """Find the token of a cookie. Without an `Origin`, which has been checked, no cookie counts.

    Raises `AuthenticationFailed` for two of the same name: a neighbouring site of the same domain may have set one,
    and nothing tells which (RFC 6265 §8.6).
    """
    if not name or "origin" not in connection.headers:
        return None
    header = "; ".join(connection.headers.getlist("cookie"))
    pairs = [pair.strip().partition("=") for pair in header.split(";")]
    values = [value.strip('"') for key, _, value in pairs if key == name]
    if len(values) > 1:
        raise AuthenticationFailed(f"expected one cookie `{name}`, got {len(values)}")
    return values[0] if values else None
