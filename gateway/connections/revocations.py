"""Closing the connections of sessions that have ended.

The bus tells of most of them at once. Some it cannot tell of: it may lose an event, and a command such as
`gateway users disable` is a process of its own. So the store is asked as well: often what has ended lately, and now and
then whether everybody who is connected still has a session. The latter finds what leaves no trace, such as a row that
somebody deleted, and what came at a time that the clocks of two machines do not agree about.
"""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from gateway.bus.base import Revoked
from gateway.connections.registry import Connections
from gateway.core import faults
from gateway.core.batches import batches
from gateway.core.clock import Clock, milliseconds
from gateway.core.faults import contained
from gateway.core.tasks import stop
from gateway.store import logins, users
from gateway.store.engine import Database
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often the store is asked, while anybody is connected. What ends is closed within a second."""

RETRY_SECONDS = 5
"""How long to wait when the store is not available; it logs each time."""

OVERLAP_MILLISECONDS = 60_000
"""How far back each look goes beyond the one before: transactions commit late, and clocks of machines differ."""

LOOK_AT_ALL_SECONDS = 60
BATCH = 500
"""Sessions that one query asks for."""

PRUNE_SECONDS = 3600
KEEP_MILLISECONDS = 24 * 3600 * 1000
"""How long a login is kept after its end. It could go at once: the tokens of one that is not there do not hold."""


class Revocations:
    """Looks for what has ended, and removes what ended long ago."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(work) for work in (self._look(), self._look_at_all(), self._prune())]

    async def close(self) -> None:
        """Stop."""
        await stop(*self._tasks)

    async def close_dead(self) -> None:
        """Close every connection whose session is not alive, however that came to be."""
        for batch in batches(self._connections.sessions(), BATCH):
            living = await self._database.look_up(partial(logins.living, ids=[session for _, session in batch]))
            for user_id, session in batch:
                if session not in living:
                    self._connections.revoke(Revoked(user_id, frozenset({session})))
        for ids in batches(self._connections.outsiders(), BATCH):
            enabled = await self._database.look_up(partial(users.enabled, ids=ids))
            for user_id in set(ids) - enabled:
                self._connections.revoke(Revoked(user_id, None))

    async def _look_at_all(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_ALL_SECONDS)
            with contained("revocations"), suppress(Unavailable):  # logged by the store; there will be another time
                await self.close_dead()

    async def _look(self) -> None:
        looked_at = milliseconds(self._clock)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = milliseconds(self._clock)
            if self._connections.count:
                try:
                    await self._close_ended(looked_at - OVERLAP_MILLISECONDS)
                except Exception as fault:
                    if not isinstance(fault, Unavailable):
                        faults.note("revocations", fault)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
            looked_at = now

    async def _close_ended(self, since: int) -> None:
        for user_id, session in await self._database.look_up(partial(logins.ended_since, since=since)):
            self._connections.revoke(Revoked(user_id, None if session is None else frozenset({session})))

    async def _prune(self) -> None:
        while True:
            before = milliseconds(self._clock) - KEEP_MILLISECONDS
            with contained("revocations"), suppress(Unavailable):  # logged by the store; there will be another time
                removed = await self._database.transact(partial(logins.prune, before=before))
                if removed:
                    logger.info("removed %d logins that ended over a day ago", removed)
            await asyncio.sleep(PRUNE_SECONDS)
