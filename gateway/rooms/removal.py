"""Removes what deleted rooms leave behind, in small steps.

So no other room waits for the removal of a huge one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from gateway.core.periodic import Periodic
from gateway.store import pruning
from gateway.store.engine import Database

Result = TypeVar("Result")

TARGET_SECONDS = 0.005
"""How long the statements of one transaction may take, without the sync of the disk."""

FEWEST, MOST = 100, 2000
"""Rows in one transaction. Messages of 64 KiB take a hundred times as long as short ones."""

LOOK_SECONDS = 60
"""How often to look for deleted rooms that a stopped node has left behind."""


class Pace:
    """Removes rows in short transactions, and rests after each as long as it took."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = FEWEST

    async def step(self, work: Callable[[Connection, int], Result]) -> Result:
        """Run `work` in a transaction, with the number of rows that it may remove, and return its result."""
        begun = time.perf_counter()
        done = await self._database.transact(partial(self._timed, work))
        await asyncio.sleep(time.perf_counter() - begun)
        return done

    def _timed(self, work: Callable[[Connection, int], Result], connection: Connection) -> Result:
        begun = time.perf_counter()
        done = work(connection, self._rows)
        took = time.perf_counter() - begun
        self._rows = max(FEWEST, min(MOST, 2 * self._rows, int(self._rows * TARGET_SECONDS / took)))
        return done


class RoomRemover:
    """Removes the memberships and messages of deleted rooms, and finally the rooms."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._removing = Periodic("removal", LOOK_SECONDS, self.remove_all, at_once=True)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Remove the rest of deleted rooms, beginning with those of an earlier process."""
        async with self._removing:
            yield self

    def wake(self) -> None:
        """Start to remove a room that has just been deleted."""
        self._removing.wake()

    async def remove_all(self) -> None:
        """Remove everything that is left of deleted rooms. Raise `Unavailable`."""
        for room_id in await self._database.query(pruning.removed_rooms):
            await self._finish_room(room_id)

    async def _finish_room(self, room_id: int) -> None:
        pace = Pace(self._database)
        for key in pruning.KEYS:
            last: Any = await pace.step(partial(pruning.remove_rows, room_id, key, None))
            while last is not None:
                last = await pace.step(partial(pruning.remove_rows, room_id, key, last))
        await self._database.transact(partial(pruning.forget_room, room_id))
