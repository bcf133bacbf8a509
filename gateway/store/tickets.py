"""Tickets: only their hashes are stored. Times are milliseconds since 1970."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Text, delete, func, insert, select

from gateway.store.prepared import Statement, items
from gateway.store.tables import tickets, users


@dataclass(frozen=True)
class TicketRow:
    """A ticket as stored."""

    hash: str
    user_id: str
    service: str
    sid: str | None
    scopes: str
    token_expires_at: int
    expires_at: int
    room_rights: str | None = None
    claims: Any = None


def add(connection: Connection, ticket: TicketRow, *, now: int, limit: int) -> bool:
    """Store a ticket, unless its user has `limit` of them already, and remove all expired ones.

    Each new ticket removes the expired ones, so the table holds no more than are bought within one ticket's life.
    """
    connection.execute(delete(tickets).where(tickets.c.expires_at <= now))
    # If two are bought at the same time, on any nodes, the second transaction sees the first ticket.
    connection.execute(select(users.c.id).where(users.c.id == ticket.user_id).with_for_update(key_share=True))
    held = select(func.count()).where(tickets.c.user_id == ticket.user_id)
    if limit and connection.execute(held).scalar_one() >= limit:
        return False
    connection.execute(insert(tickets).values(vars(ticket)))
    return True


EXISTING = Statement(
    lambda database: select(tickets.c.hash).where(tickets.c.hash.in_(select(*items(database, Text()))))
)
"""Finds tickets by their hashes, without removing them."""


def pop(connection: Connection, hashes: Sequence[str]) -> dict[str, TicketRow]:
    """Remove tickets and return them, by their hashes. Only one of several simultaneous calls gets a ticket."""
    # In a fixed order, so that two nodes never wait for each other.
    wanted = select(tickets.c.hash).where(tickets.c.hash.in_(hashes)).order_by(tickets.c.hash)
    connection.execute(wanted.with_for_update())
    removed = connection.execute(delete(tickets).where(tickets.c.hash.in_(hashes)).returning(*tickets.c))
    return {row.hash: TicketRow(**row._mapping) for row in removed}
