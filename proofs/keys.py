"""Keys of services and of incoming webhooks, in a store that no gateway has open yet."""

import time
from typing import Literal

from sqlalchemy import Connection

from gateway.auth import service_keys
from gateway.store import services
from gateway.store.engine import Database


async def add_key(database: Database, name: str, *scopes: str, hook_of: str | None = None) -> str:
    """Add a service with these scopes, or the incoming webhook of a room, and return its key."""
    now = time.time_ns() // 1_000_000

    def add(connection: Connection) -> str:
        kind: Literal["service", "hook"] = "service" if hook_of is None else "hook"
        row = services.add(connection, name=name, kind=kind, scopes=scopes, rooms=None, room=hook_of, now=now)
        return service_keys.issue(connection, row, now).text

    return await database.transact(add)
