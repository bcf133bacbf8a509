"""The answers of `POST /token` (RFC 6749 §5), of `POST /token/introspect` (RFC 7662 §2.2) and of `POST /ws/ticket`."""

from typing import Literal

from pydantic import Field

from schemas.base import Wire
from schemas.errors import ErrorBody


class Token(Wire):
    """An access token, its seconds and scopes, and the refresh token for the next one, which a service does not get."""

    access_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a type of token, not a secret
    expires_in: int
    refresh_token: str | None = Field(default=None, repr=False)
    scope: str


class Ticket(Wire):
    """A ticket that opens one WebSocket within `expires_in` seconds."""

    ticket: str = Field(repr=False)
    expires_in: int


class TokenError(ErrorBody):
    """A refused log-in, in the gateway's form and in that of RFC 6749 §5.2. `detail` is for FastAPI's clients."""

    error: str
    error_description: str
    detail: str


class Introspection(Wire):
    """The user and rights of a token; for a bad token, only that it is inactive."""

    active: bool
    token_type: Literal["bearer", "refresh_token"] | None = None
    scope: str | None = None
    sub: str | None = None
    username: str | None = None
    sid: str | None = None
    exp: int | None = None
    iat: int | None = None
    nbf: int | None = None
    iss: str | None = None
    aud: str | None = None
    jti: str | None = None
    rooms: dict[str, list[str]] | None = None
    """The rights by room, where the token or the user's groups limit them."""
