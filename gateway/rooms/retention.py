"""How long messages are kept."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from sqlalchemy import Connection

from gateway.config.settings import Settings
from gateway.core.clock import Clock, milliseconds
from gateway.core.faults import contained
from gateway.core.tasks import stop
from gateway.rooms.removal import Pace
from gateway.store import pruning
from gateway.store.engine import Database
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600
BATCH = 500
"""Rooms that are looked up at a time."""

DAY_MILLISECONDS = 24 * 3600 * 1000


class Retention:
    """Removes messages that are older, or more in a room, than the settings keep."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._days = settings.retention_days
        self._keep = settings.retention_messages or None
        self._database = database
        self._clock = clock
        self._pace = Pace(database)
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep now and then, if there is anything to remove."""
        if self._days or self._keep is not None:
            self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Sweep no more."""
        if self._sweeping is not None:
            await stop(self._sweeping)

    async def prune(self) -> int:
        """Remove what is due now, a small batch at a time; returns how many messages that were."""
        before = round(milliseconds(self._clock) - self._days * DAY_MILLISECONDS) if self._days else None
        if before is None and self._keep is None:
            return 0
        removed, room_id = 0, 0
        while due := await self._rooms_after(room_id):
            for room_id in due:
                removed += await self._prune_room(room_id, before)
        return removed

    async def _rooms_after(self, room_id: int) -> list[int]:
        return await self._database.look_up(partial(pruning.rooms_after, room_id=room_id, limit=BATCH))

    async def _prune_room(self, room_id: int, before: int | None) -> int:
        too_many = await self._database.look_up(partial(pruning.too_many, room_id=room_id, keep=self._keep))

        def some(connection: Connection, limit: int) -> int | None:
            return pruning.prune(connection, room_id, before=before, too_many=too_many, limit=limit)

        removed = 0
        while batch := await self._pace.step(some):
            removed += batch
        return removed

    async def _sweep(self) -> None:
        while True:
            with contained("retention"), suppress(Unavailable):  # logged by the store; there will be another time
                removed = await self.prune()
                logger.info("removed %d messages that were too old or too many", removed)
            await asyncio.sleep(SWEEP_SECONDS)
