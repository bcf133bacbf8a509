"""What a database needs that was set back to an earlier state: clients know a later one.

The next offsets have been used before. So each room's log goes on under another epoch: a client that resumes gets
`epoch_changed`, and no `id` stands for two messages. Sessions that were ended after that
state would live again, so all of them end.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, Text, cast, delete, literal, update

from gateway.store.tables import login_sessions, rooms, tickets


@dataclass(frozen=True)
class Renewed:
    """How many rooms have another epoch, and how many sessions have ended."""

    rooms: int
    sessions: int


def renew(connection: Connection, now: int, *, keep_sessions: bool) -> Renewed:
    """Set a new epoch for every room, and end all sessions unless these are kept. The caller owns the transaction."""
    # Random, as the epoch of a new room, and with the number of the room no other's.
    epoch = literal(f"{secrets.token_urlsafe(6)}-") + cast(rooms.c.id, Text())
    renewed = connection.execute(update(rooms).values(epoch=epoch)).rowcount
    connection.execute(delete(tickets))
    if keep_sessions:
        return Renewed(renewed, 0)
    living = update(login_sessions).where(login_sessions.c.ended_at.is_(None)).values(ended_at=now)
    return Renewed(renewed, connection.execute(living).rowcount)
