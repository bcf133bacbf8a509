"""`auth` and `auth.refresh`."""

from pydantic import ConfigDict, Field

from schemas.base import Timestamp, Wire

MAX_TOKEN_LENGTH = 4096
"""The most characters of a token in any place. The gateway issues no longer ones, and refuses these at no cost."""


class Authenticate(Wire):
    """Log in a connection without a credential. It must be the first message."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "header.payload.signature"}]})

    token: str = Field(min_length=1, max_length=MAX_TOKEN_LENGTH, repr=False)


class RefreshAuth(Wire):
    """Replace the token by a newer one of the same user."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"token": "header.payload.signature"}]})

    token: str = Field(min_length=1, max_length=MAX_TOKEN_LENGTH, repr=False)


class AuthReply(Wire):
    """The scopes of the connection from now on, and their end."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"token_expires_at": "2026-11-20T23:35:08.000Z", "scopes": ["chat:read", "chat:write"]}]
        }
    )

    token_expires_at: Timestamp
    scopes: tuple[str, ...]
