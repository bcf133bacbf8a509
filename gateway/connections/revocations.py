"""Closes the connections of sessions that have ended.

The bus reports most of them at once. It cannot report all: it may lose an event, and a command such as
`gateway users disable` runs in its own process. So this module asks the store as well: often for sessions that have
ended lately, and now and then whether each connected session still exists. The second check finds what leaves no trace,
such as a deleted row, and changes that the clocks of two machines disagree about.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

from gateway.bus.base import Revoked
from gateway.connections.registry import Connections
from gateway.core.batches import batches
from gateway.core.clock import Clock, milliseconds
from gateway.core.periodic import Periodic
from gateway.store import login_sessions, services, users
from gateway.store.engine import Database
from schemas.services import SERVE

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often to ask the store while there are connections. Ended sessions are closed within a second."""

RETRY_SECONDS = 5
"""How long to wait when the store is not available, which it logs each time."""

OVERLAP_MILLISECONDS = 60_000
"""How far each look reaches back before the last one: transactions commit late, and machines' clocks differ."""

LOOK_AT_ALL_SECONDS = 60
BATCH = 500
"""Sessions in one query."""

PRUNE_SECONDS = 3600
KEEP_MILLISECONDS = 24 * 3600 * 1000
"""How long an ended session or key is kept. It is not needed: the tokens of a missing one are not valid."""


class RevocationWatcher:
    """Finds sessions that have ended, and removes sessions and services' keys that ended long ago."""

    def __init__(self, database: Database, connections: Connections, clock: Clock) -> None:
        self._database = database
        self._connections = connections
        self._clock = clock
        self._looked_at = 0
        self._failed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Close ended sessions within a second, and remove from the store those that ended long ago."""
        self._looked_at = milliseconds(self._clock)
        async with (
            Periodic("revocations", self._pause, self._look),
            Periodic("revocations", LOOK_AT_ALL_SECONDS, self.close_all_ended),
            Periodic("revocations", PRUNE_SECONDS, self._prune, at_once=True),
        ):
            yield self

    async def close_all_ended(self) -> None:
        """Close every connection without a living session, also if nothing has reported its end."""
        now = milliseconds(self._clock)
        for batch in batches(self._connections.login_sessions(), BATCH):
            living = await self._database.query(
                partial(login_sessions.alive_among, ids=[session for _, session in batch], now=now)
            )
            for user_id, session in batch:
                if session not in living:
                    self._connections.close_revoked(Revoked(user_id, frozenset({session})))
        for ids in batches(self._connections.external_user_ids(), BATCH):
            enabled = await self._database.query(partial(users.enabled_among, ids=ids))
            for user_id in set(ids) - enabled:
                self._connections.close_revoked(Revoked(user_id, None))

    def _pause(self) -> float:
        return RETRY_SECONDS if self._failed else LOOK_SECONDS

    async def _look(self) -> None:
        now = milliseconds(self._clock)
        self._failed = True  # until this look has succeeded
        if self._connections.count:
            await self._close_ended(self._looked_at - OVERLAP_MILLISECONDS, now)
            await self._close_barred_workers()
        self._failed = False
        self._looked_at = now

    async def _close_ended(self, since: int, now: int) -> None:
        for user_id, session in await self._database.query(partial(login_sessions.ended_since, since=since, now=now)):
            self._connections.close_revoked(Revoked(user_id, None if session is None else frozenset({session})))

    async def _close_barred_workers(self) -> None:
        """Close the connections of services that may no longer serve routes: the operator has taken the scope away."""
        for batch in batches(self._connections.service_keys(), BATCH):
            barred = await self._database.query(partial(services.without_scope, scope=SERVE, key_ids=batch))
            for user_id, key in barred:
                self._connections.close_revoked(Revoked(user_id, frozenset({key})))

    async def _prune(self) -> None:
        before = milliseconds(self._clock) - KEEP_MILLISECONDS
        removed = await self._database.transact(partial(login_sessions.prune, before=before))
        if removed:
            logger.info("removed %d sessions that ended over a day ago", removed)
        removed = await self._database.transact(partial(services.prune_keys, before=before))
        if removed:
            logger.info("removed %d keys of services that ended over a day ago", removed)
