"""The answers of `POST /token` (RFC 6749 §5.1 and §5.2) and of `POST /ws/ticket`."""

from typing import Literal

from schemas.base import Wire
from schemas.errors import ErrorBody


class Token(Wire):
    """An access token, how many seconds it lasts, and what it allows."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a type of token, not a secret
    expires_in: int
    scope: str


class Ticket(Wire):
    """What opens one WebSocket, within `expires_in` seconds."""

    ticket: str
    expires_in: int


class TokenError(ErrorBody):
    """A refused log-in, in our words and in those of RFC 6749 §5.2; `detail` is FastAPI's."""

    error: str
    error_description: str
    detail: str
