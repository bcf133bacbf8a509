"""The connections of all nodes, as a service sees them."""

from pydantic import ConfigDict, Field

from schemas.base import Timestamp, Wire

CONNECTION_ID = r"^[0-9a-f]{16}$"


class NameConnection(Wire):
    """A connection."""

    connection: str = Field(pattern=CONNECTION_ID, examples=["bc370f0204e466c3"])


class ConnectionView(Wire):
    """One connection of a user, or of a worker, which has the name of its service, `service:NAME`."""

    connection: str = Field(examples=["bc370f0204e466c3"])
    node: str
    """The node that has it. A node gets another id at each start."""
    user: str
    address: str
    """The address as the limits count it: of an IPv6 address the /64."""
    scopes: tuple[str, ...]
    rooms: int
    """How many rooms it hears."""
    connected_at: Timestamp
    last_message_at: Timestamp
    expires_at: Timestamp | None = None
    """The end of its credential, if it has one."""


class ConnectionsReply(Wire):
    """A page of connections by id, and the nodes that have not answered: their connections are missing."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "connections": [
                        {
                            "connection": "bc370f0204e466c3",
                            "node": "9f86d081884c7d65",
                            "user": "alice",
                            "address": "192.0.2.7",
                            "scopes": ["chat:read", "chat:write"],
                            "rooms": 2,
                            "connected_at": "2026-11-20T23:20:08.785Z",
                            "last_message_at": "2026-11-20T23:21:30.112Z",
                            "expires_at": "2026-11-20T23:35:08.000Z",
                        }
                    ],
                    "missing_nodes": [],
                }
            ]
        }
    )

    connections: tuple[ConnectionView, ...]
    next_cursor: str | None = None
    missing_nodes: tuple[str, ...] = ()
