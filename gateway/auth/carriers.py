"""Where a connection carries its credential."""

from starlette.requests import HTTPConnection


def bearer(connection: HTTPConnection) -> str | None:
    """Find the token of an `Authorization: Bearer` header (RFC 6750 §2.1)."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
