"""Adapts a database that was restored to an earlier state, because clients know a later state.

The next offsets have been used before, so each room's log continues under a new epoch. A client that resumes gets
`epoch_changed`, and no `id` names two messages. Sessions that ended after that state would be alive again, so all of
them end.
"""

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, Text, cast, delete, literal, update

from gateway.store.tables import login_sessions, rooms, tickets


@dataclass(frozen=True)
class Renewed:
    """How many rooms have a new epoch, and how many sessions have ended."""

    rooms: int
    sessions: int


def renew(connection: Connection, now: int, *, keep_sessions: bool) -> Renewed:
    """Set a new epoch for every room, and end all sessions unless they are kept. The caller owns the transaction."""
    # Random like the epoch of a new room; the room's number makes it unique.
    epoch = literal(f"{secrets.token_urlsafe(6)}-") + cast(rooms.c.id, Text())
    renewed = connection.execute(update(rooms).values(epoch=epoch)).rowcount
    connection.execute(delete(tickets))
    if keep_sessions:
        return Renewed(renewed, 0)
    living = update(login_sessions).where(login_sessions.c.ended_at.is_(None)).values(ended_at=now)
    return Renewed(renewed, connection.execute(living).rowcount)
