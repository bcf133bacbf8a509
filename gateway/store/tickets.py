"""Tickets: only their hashes are stored. Times are milliseconds since 1970."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from gateway.store.prepared import Statement
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


EXISTING = Statement(lambda _: select(tickets.c.hash).where(tickets.c.hash == bindparam("wanted")))
"""Finds a ticket by its hash, without removing it."""


def pop(connection: Connection, hash: str) -> TicketRow | None:
    """Remove a ticket and return it. Only one of several simultaneous calls gets it."""
    found = connection.execute(delete(tickets).where(tickets.c.hash == hash).returning(*tickets.c)).one_or_none()
    return TicketRow(**found._mapping) if found else None
