"""Events about the connection, and announcements."""

from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.base import Event, Timestamp
from schemas.codes import Reconnect
from schemas.messages.rooms import Room
from schemas.rules import exactly_one, with_rules

PROTOCOL_VERSION = 1


class Welcome(Event):
    """The first frame of an accepted connection.

    `rooms` has the user's rooms and invitations by name if the client has asked for them. If there are more,
    `next_cursor` is the cursor of `room.list` behind the last one.
    """

    type: ClassVar[str] = "welcome"
    examples: ClassVar[tuple[Any, ...]] = (
        {
            "connection": "bc370f0204e466c3",
            "user": "alice",
            "scopes": ["chat:read", "chat:write", "rooms:manage"],
            "server_time": "2026-11-20T23:20:08.785Z",
            "token_expires_at": "2026-11-20T23:35:08.000Z",
            "heartbeat_seconds": 25.0,
            "max_message_bytes": 65536,
            "protocol": 1,
        },
    )

    connection: str
    user: str
    scopes: tuple[str, ...]
    server_time: Timestamp
    token_expires_at: Timestamp
    heartbeat_seconds: float
    max_message_bytes: int
    protocol: int = PROTOCOL_VERSION
    rooms: tuple[Room, ...] | None = None
    next_cursor: str | None = None


class TokenExpiring(Event):
    """The token ends at `token_expires_at`. The gateway closes the connection a little later."""

    type: ClassVar[str] = "token.expiring"
    examples: ClassVar[tuple[Any, ...]] = ({"token_expires_at": "2026-11-20T23:35:08.000Z"},)

    token_expires_at: Timestamp


class Bye(Event):
    """The last frame before a close: its reason, and whether and when (`after_ms`) to come back."""

    type: ClassVar[str] = "bye"
    examples: ClassVar[tuple[Any, ...]] = (
        {"code": 1012, "reason": "draining", "reconnect": "after_delay", "after_ms": 830},
    )

    code: int
    reason: str
    reconnect: Reconnect
    after_ms: int | None = None


class Announcement(Event):
    """An administrator's announcement to every connection."""

    type: ClassVar[str] = "announcement"
    examples: ClassVar[tuple[Any, ...]] = (
        {"sender": "admin", "text": "Coffee!", "sent_at": "2026-11-20T23:20:08.804Z"},
    )

    sender: str
    text: str | None = None
    body: Any = None
    sent_at: Timestamp

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the rule about the content."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        return with_rules(found, handler, exactly_one("text", "body"))
