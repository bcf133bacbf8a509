"""Stores when users were last connected, many in one transaction.

A proxy that restarts cuts thousands of connections at once. With a transaction for each user, the messages of the
remaining users would wait for all of them.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from gateway.core import faults
from gateway.core.batches import batches
from gateway.core.clock import Clock, milliseconds
from gateway.core.periodic import Periodic
from gateway.store import users
from gateway.store.engine import Database
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.5
"""How long departures are collected. A user that leaves still counts as present for longer than this."""

AGAIN_SECONDS = 5
"""How long to wait before another attempt, if the store did not answer."""

MAX_BATCH = 500
"""Users in one transaction, like messages in one transaction of the log."""


class LastSeen:
    """Stores when users were last connected. While the store does not answer, it tries again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: dict[str, int] = {}
        self._answers = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Store the collected users while the context lasts, and the rest at its end, in one attempt."""
        try:
            async with Periodic("last_seen", self._pause, self._store_all):
                yield self
        finally:
            await self._store_all()
            if self._waiting:
                logger.warning("could not store when %d users were last seen", len(self._waiting))

    def record(self, user_id: str) -> None:
        """Record that a user was connected until now."""
        self._waiting[user_id] = milliseconds(self._clock)

    def _pause(self) -> float:
        return GATHER_SECONDS if self._answers else AGAIN_SECONDS

    async def _store_all(self) -> None:
        """Store the collected users, or keep them for the next turn if the store does not answer."""
        gathered, self._waiting = self._waiting, {}
        self._answers = False
        try:
            for batch in batches(gathered.items(), MAX_BATCH):
                await self._store(dict(batch))
            self._answers = True
        except Unavailable:  # logged by the store
            pass
        finally:
            if not self._answers:
                self._waiting = gathered | self._waiting

    async def _store(self, users_seen: dict[str, int]) -> None:
        try:
            await self._database.run_script(users.record_last_seen(users_seen))
        except Unavailable:
            raise
        except Exception as fault:  # of these users; the others are stored anyway
            faults.record("last_seen", fault)
