"""Removes messages that the settings no longer keep.

They are too old, or too many in their room.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Self

from sqlalchemy import Connection

from gateway.config.settings import Settings
from gateway.core.clock import Clock, milliseconds
from gateway.core.periodic import Periodic
from gateway.rooms.removal import Pace
from gateway.store import pruning
from gateway.store.engine import Database

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600
BATCH = 500
"""Rooms in one query."""

DAY_MILLISECONDS = 24 * 3600 * 1000


class Retention:
    """Removes messages that exceed the age or the number in the settings."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._days = settings.retention_days
        self._keep = settings.retention_messages or None
        self._database = database
        self._clock = clock
        self._pace = Pace(database)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Remove due messages at once and every hour, if the settings limit them."""
        async with AsyncExitStack() as stack:
            if self._days or self._keep is not None:
                await stack.enter_async_context(Periodic("retention", SWEEP_SECONDS, self._sweep, at_once=True))
            yield self

    async def prune(self) -> int:
        """Remove the messages that are due now, in small batches, and return their number."""
        before = round(milliseconds(self._clock) - self._days * DAY_MILLISECONDS) if self._days else None
        if before is None and self._keep is None:
            return 0
        removed, room_id = 0, 0
        while due := await self._rooms_after(room_id):
            for room_id in due:
                removed += await self._prune_room(room_id, before)
        return removed

    async def _rooms_after(self, room_id: int) -> list[int]:
        return await self._database.query(partial(pruning.rooms_after, room_id=room_id, limit=BATCH))

    async def _prune_room(self, room_id: int, before: int | None) -> int:
        too_many = await self._database.query(partial(pruning.too_many, room_id=room_id, keep=self._keep))

        def some(connection: Connection, limit: int) -> int | None:
            return pruning.prune(connection, room_id, before=before, too_many=too_many, limit=limit)

        removed = 0
        while batch := await self._pace.step(some):
            removed += batch
        return removed

    async def _sweep(self) -> None:
        removed = await self.prune()
        logger.info("removed %d messages that were too old or too many", removed)
