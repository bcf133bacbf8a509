"""Removes messages that the settings no longer keep: too old, or too many in their room.

Only rooms that may have such messages are looked at one by one. Each room knows a time before which none of its
messages has changed, and how many of its offsets at least have no message. Both stay right through all changes, and
become exact when retention has looked at the room.
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
from gateway.store.pruning import Pruned

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600
BATCH = 500
"""Rooms to find with one query."""

RANGE = 2000
"""Rooms to look at with one query, by their counts: a millisecond's worth."""

DAY_MILLISECONDS = 24 * 3600 * 1000


class Retention:
    """Removes messages that exceed the age or the number in the settings."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._days = settings.retention_days
        self._keep = settings.retention_messages or None
        self._database = database
        self._clock = clock
        self._pace = Pace(database)
        self.removed = 0
        """Messages that this node has removed since its start."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Remove due messages at once and every hour, if the settings limit them."""
        async with AsyncExitStack() as stack:
            if self._days or self._keep is not None:
                await stack.enter_async_context(Periodic("retention", SWEEP_SECONDS, self._sweep, at_once=True))
            yield self

    async def prune(self) -> int:
        """Remove the messages that are due now, in small batches, and return their number."""
        removed = 0
        if self._days:
            removed += await self._prune_old(round(milliseconds(self._clock) - self._days * DAY_MILLISECONDS))
        if self._keep is not None:
            removed += await self._prune_surplus(self._keep)
        return removed

    async def _prune_old(self, before: int) -> int:
        removed, seen = 0, set[int]()
        # A room that is done has no message from before that time, so the next query does not find it again.
        while due := set(await self._database.query(partial(pruning.too_old, before=before, limit=BATCH))) - seen:
            for room_id in due:
                removed += await self._prune_room(room_id, before, 0)
            seen |= due
        return removed

    async def _prune_surplus(self, keep: int) -> int:
        removed = 0
        last = await self._database.query(pruning.last_room)
        for start in range(0, last, RANGE):
            find = partial(pruning.too_full, after=start, until=start + RANGE, keep=keep)
            for room_id in await self._database.query(find):
                too_many, vacant = await self._database.query(partial(pruning.surplus, room_id=room_id, keep=keep))
                if too_many:
                    removed += await self._prune_room(room_id, None, too_many)
                await self._database.transact(partial(pruning.note_vacant, room_id=room_id, vacant=vacant))
        return removed

    async def _prune_room(self, room_id: int, before: int | None, too_many: int) -> int:
        def some(connection: Connection, limit: int) -> Pruned:
            now = milliseconds(self._clock)
            return pruning.prune(connection, room_id, before=before, too_many=too_many, now=now, limit=limit)

        removed, is_done = 0, False
        while not is_done:
            step = await self._pace.step(some)
            removed += step.removed
            self.removed += step.removed
            is_done = step.is_done
        return removed

    async def _sweep(self) -> None:
        removed = await self.prune()
        logger.info("removed %d messages that were too old or too many", removed)
