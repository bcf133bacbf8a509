"""When users were last here, stored many at a time.

A proxy that restarts cuts thousands of connections at once. Were each of their users written by itself, the messages
of those who stay would wait for all of these transactions.
"""

import asyncio
import logging
from contextlib import suppress

from gateway.core import faults
from gateway.core.batches import batches
from gateway.core.clock import Clock, milliseconds
from gateway.store import users
from gateway.store.engine import Database
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.5
"""How long those who leave are gathered; for longer than that, they still count as there."""

AGAIN_SECONDS = 5
"""How long to wait before another try, after the store did not answer."""

MAX_BATCH = 500
"""Users in one transaction, as messages in one of the log."""


class LastSeen:
    """Stores when users were last here. While the store does not answer, it tries again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: dict[str, int] = {}
        self._more = asyncio.Event()
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to store."""
        self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Store what there is, in one try, then stop."""
        if self._writer is not None:
            self._closing.set()
            self._more.set()
            await self._writer
            if self._waiting:
                logger.warning("when %d users were last here is not stored", len(self._waiting))

    def note(self, user_id: str) -> None:
        """Note that a user was here until now."""
        self._waiting[user_id] = milliseconds(self._clock)
        self._more.set()

    async def _write(self) -> None:
        answers = True
        while not self._closing.is_set():
            await self._more.wait()
            self._more.clear()
            await self._rest(GATHER_SECONDS if answers else AGAIN_SECONDS)
            answers = await self._store_all()
        if answers:
            await self._store_all()

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()

    async def _store_all(self) -> bool:
        """Store what has been gathered; tells whether the store answers."""
        gathered, self._waiting = self._waiting, {}
        for batch in batches(gathered.items(), MAX_BATCH):
            try:
                await self._database.carry_out(users.saw(dict(batch)))
            except Unavailable:  # logged by the store
                self._waiting = gathered | self._waiting
                self._more.set()
                return False
            except Exception as fault:  # the writer must outlive what some users do to it
                faults.note("last_seen", fault)
        return True
