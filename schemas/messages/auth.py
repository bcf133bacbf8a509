"""`auth` and `auth.refresh`."""

from pydantic import Field

from schemas.base import Timestamp, Wire

MAX_TOKEN_LENGTH = 4096
"""Of a token in any place: longer than any that is issued here, and no work to refuse."""


class Authenticate(Wire):
    """Log a connection in that came without a credential; it must be the first message."""

    token: str = Field(min_length=1, max_length=MAX_TOKEN_LENGTH, repr=False)


class RefreshAuth(Wire):
    """Go on with a newer token of the same user."""

    token: str = Field(min_length=1, max_length=MAX_TOKEN_LENGTH, repr=False)


class AuthReply(Wire):
    """What the connection may do from now on, and until when."""

    token_expires_at: Timestamp
    scopes: tuple[str, ...]
