"""What a service sends over `/ws/service`, and the replies."""

from typing import Annotated

from pydantic import Field

from schemas.base import MAX_TYPE_LENGTH, Timestamp, Wire

MAX_TYPES = 100
MAX_PARALLEL = 1024


class ServiceAuthReply(Wire):
    """The service of a key, and what it may do."""

    service: str
    scopes: tuple[str, ...]
    key_expires_at: Timestamp | None = None


class ServeRoutes(Wire):
    """Serve these routes and no others; `types` has their names as the routes file has them."""

    types: Annotated[list[Annotated[str, Field(min_length=1, max_length=MAX_TYPE_LENGTH)]], Field(max_length=MAX_TYPES)]
    parallel: Annotated[int, Field(ge=1, le=MAX_PARALLEL)] = 16
    """How many messages the connection takes at a time."""


class ServeReply(Wire):
    """The routes that the connection serves now."""

    types: tuple[str, ...]
    parallel: int
