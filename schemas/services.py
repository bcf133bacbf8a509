"""The names and scopes of services: backend programs that have a key of their own."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

SENDER_PREFIX = "service:"
"""The beginning of the name that a service has as a sender. No user name has a colon."""

SERVICE_NAME = r"^[a-z0-9][a-z0-9._-]{0,31}$"

ServiceKind = Literal["service", "hook"]
"""A service with a key for many requests, or an incoming webhook: a URL that speaks in one room."""

SERVER = "server"
PUBLISH = "api:publish"
ROOMS = "api:rooms"
CONNECTIONS = "api:connections"
USERS = "api:users"
SERVE = "api:serve"

SERVICE_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        SERVER: "ask about tokens with POST /token/introspect",
        PUBLISH: "send messages and events to rooms and users",
        ROOMS: "read, make, change and delete rooms, their members and their messages",
        CONNECTIONS: "list connections and presence, and close connections",
        USERS: "look users up, disconnect them and end their sessions",
        SERVE: "serve routes over /ws/service",
    }
)
"""What a service may be allowed, each with its meaning."""


def sender_of(service_name: str) -> str:
    """Return the name of a service's user, which its messages show as their sender."""
    return SENDER_PREFIX + service_name


def is_service(user_name: str) -> bool:
    """Return whether a name in the store, or a sender, is a service's."""
    return user_name.startswith(SENDER_PREFIX)


def _service_name(value: str) -> str:
    if re.fullmatch(SERVICE_NAME, value) is None or value.endswith("\n"):
        raise PydanticCustomError("service_name", "expected 1 to 32 of a-z 0-9 - _ . with a letter or digit first")
    return value


ServiceName = Annotated[
    str, AfterValidator(_service_name), Field(examples=["orders"], json_schema_extra={"pattern": SERVICE_NAME})
]
