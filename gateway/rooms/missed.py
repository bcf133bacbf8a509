"""What somebody has missed of a room's log: all of it, or the reason why not."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store import messages, rooms
from gateway.store.engine import Database
from gateway.store.messages import MessageRow
from gateway.store.rooms import RoomRow
from schemas.messages.rooms import Reason

MAX_MISSED = 300
"""Messages that are read at once; whoever has missed more is better off with the newest ones."""


async def missed_since(
    connection: AsyncConnection, room: RoomRow, epoch: str, offset: int
) -> list[MessageRow] | Reason:
    """Read what changed in a room's log after a position, in order; or say why that cannot be told."""
    if epoch != room.epoch:
        return "epoch_changed"
    if offset < room.pruned:
        return "too_old"
    rows = await messages.changed_since(connection, room.id, offset, limit=MAX_MISSED + 1)
    return rows if len(rows) <= MAX_MISSED else "too_many"


@dataclass(frozen=True)
class Gap:
    """A hole in what a node has heard of a room: the room as it is now, and what was missed, if that can be told."""

    room: RoomRow
    rows: list[MessageRow] | None


class Gaps:
    """Reads holes from the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, name: str, epoch: str, offset: int) -> Gap | None:
        """Read what came after a position; None if the room is no more. Raises `Unavailable`."""
        async with self._database.read() as connection:
            room = await rooms.by_name(connection, name)
            if room is None:
                return None
            found = await missed_since(connection, room, epoch, offset)
        return Gap(room, None if isinstance(found, str) else found)
