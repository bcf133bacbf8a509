"""Tickets: credentials that open one WebSocket, within 30 seconds.

A URL ends up in logs, histories and `Referer` headers, and a browser can set only the URL and the subprotocols of a
WebSocket. A ticket that an attacker finds in a URL is worthless: it is used up, or has expired.
"""

import hashlib
import itertools
import re
import secrets
from dataclasses import replace
from functools import partial

from gateway.auth.authorizers import AuthResult, current_authorization
from gateway.auth.room_rights import rights_of
from gateway.auth.user_rights import UserRightsReader
from gateway.core.clock import Clock, milliseconds
from gateway.store import tickets
from gateway.store.engine import Database
from gateway.store.grouped_reads import GroupedReads
from gateway.store.prepared import items_of
from gateway.store.tickets import TicketRow
from handlers.errors import AuthenticationFailed, RateLimited, TokenExpired

TICKET_SECONDS = 30

_FORM = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits, base64url


class Tickets:
    """Issues tickets for tokens, and redeems them for connections.

    The store holds them, so that a ticket of one node opens a connection to another.
    """

    def __init__(self, database: Database, rights: UserRightsReader, clock: Clock, max_per_user: int) -> None:
        self._database = database
        self._rights = rights
        self._clock = clock
        self._max_per_user = max_per_user
        self._existing = GroupedReads(self._find_existing)
        self._uses = GroupedReads(self._pop)
        self._numbers = itertools.count()

    async def issue(self, auth: AuthResult) -> str:
        """Return a new ticket for a user, or raise `RateLimited` if the user holds too many unused ones."""
        ticket, now = secrets.token_urlsafe(32), milliseconds(self._clock)
        row = TicketRow(
            hash=_hash(ticket),
            user_id=auth.user_id,
            service=auth.service,
            sid=auth.sid,
            scopes=" ".join(sorted(auth.scopes)),
            token_expires_at=round(auth.expires_at * 1000),
            expires_at=now + TICKET_SECONDS * 1000,
            room_rights=None if auth.room_rights is None else auth.room_rights.text,
            claims=auth.claims,
        )
        add = partial(tickets.add, ticket=row, now=now, limit=self._max_per_user)
        if not await self._database.transact(add):
            raise RateLimited("tickets that have not been used", TICKET_SECONDS * 1000)
        return ticket

    async def redeem(self, ticket: str) -> AuthResult:
        """Use up a ticket and return its user, or raise `AuthenticationFailed` or a subclass.

        The result has the scopes and the end of the token that bought the ticket.
        """
        found = await self._use(ticket)
        now = milliseconds(self._clock)
        if found is None or found.expires_at <= now:
            raise AuthenticationFailed(
                f"the ticket is not valid: it opens one connection, within {TICKET_SECONDS} seconds;"
                " get another with POST /ws/ticket"
            )
        if found.token_expires_at <= now:
            raise TokenExpired("the token that the ticket was bought with has expired; log in again for a new one")
        auth = await current_authorization(
            self._rights,
            user_id=found.user_id,
            scopes=frozenset(found.scopes.split()),
            expires_at=found.token_expires_at / 1000,
            sid=found.sid,
            service=found.service,
            rooms=rights_of(found.room_rights),
        )
        return auth if found.claims is None else replace(auth, claims=found.claims)

    async def _use(self, ticket: str) -> TicketRow | None:
        if _FORM.fullmatch(ticket) is None:
            return None
        key = _hash(ticket)
        # A read comes first: guesses must not queue with the writers.
        if not await self._existing.get(key):
            return None
        # Each use counts for itself, since only one of several gets the ticket.
        return await self._uses.get((key, next(self._numbers)))

    async def _find_existing(self, hashes: list[str]) -> dict[str, bool]:
        found = await self._database.fetch(tickets.EXISTING, items=items_of(hashes))
        return {row["hash"]: True for row in found}

    async def _pop(self, uses: list[tuple[str, int]]) -> dict[tuple[str, int], TicketRow]:
        first = dict(reversed(uses))
        rows = await self._database.transact(partial(tickets.pop, hashes=list(first)))
        return {(key, first[key]): row for key, row in rows.items()}


def _hash(ticket: str) -> str:
    # No salt and no stretching: 256 random bits cannot be guessed. The database compares the hashes.
    return hashlib.sha256(ticket.encode()).hexdigest()
