"""The presence of the users of a room, as a service sees it."""

from pydantic import ConfigDict

from schemas.base import Wire
from schemas.messages.presence import UserPresence


class PresencePage(Wire):
    """A page of the users that hear a room now, by name, and the nodes that have not answered."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "users": [
                        {"user": "alice", "state": "online"},
                        {"user": "bob", "state": "offline", "last_seen": "2026-11-20T23:21:30.112Z"},
                    ],
                    "missing_nodes": [],
                }
            ]
        }
    )

    users: tuple[UserPresence, ...]
    next_cursor: str | None = None
    missing_nodes: tuple[str, ...] = ()
