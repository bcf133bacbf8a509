"""A user, as a service sees it, and what a service has done to its connections and sessions."""

from pydantic import ConfigDict

from schemas.base import Timestamp, Wire
from schemas.messages.presence import State
from schemas.names import UserName


class NameUser(Wire):
    """A user."""

    user: UserName


class UserView(Wire):
    """A user: its names, its scopes and its presence. `last_seen` is there while it is offline."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user": "alice",
                    "id": "0b5e7c1f3d2a49688f6c0d9e8b7a6541",
                    "full_name": "Alice A.",
                    "scopes": ["chat:read", "chat:write", "rooms:manage"],
                    "disabled": False,
                    "created_at": "2026-11-20T23:20:08.785Z",
                    "state": "offline",
                    "last_seen": "2026-11-20T23:21:30.112Z",
                }
            ]
        }
    )

    user: str
    id: str
    full_name: str | None = None
    email: str | None = None
    scopes: tuple[str, ...]
    disabled: bool
    created_at: Timestamp
    state: State
    last_seen: Timestamp | None = None


class Disconnected(Wire):
    """How many connections were closed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"closed": 2}]})

    closed: int


class SessionsEnded(Wire):
    """How many sessions have ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ended": 1}]})

    ended: int
