"""Services and incoming webhooks for tests, without the command."""

import time
from collections.abc import Iterable

from sqlalchemy import Connection

from gateway.auth import service_keys
from gateway.store import services
from gateway.testing import Gateway


async def add_service(
    gateway: Gateway, name: str, *scopes: str, rooms: Iterable[str] | None = None, hook_of: str | None = None
) -> str:
    """Add a service, or the incoming webhook of a room, and return its key."""
    now = time.time_ns() // 1_000_000

    def add(connection: Connection) -> str:
        row = services.add(
            connection,
            name=name,
            kind="service" if hook_of is None else "hook",
            scopes=scopes,
            rooms=rooms,
            room=hook_of,
            now=now,
        )
        return service_keys.issue(connection, row, now).text

    return await gateway.run(gateway.state.database.transact(add))
