"""When users were last here, stored many at a time.

A proxy that restarts cuts thousands of connections at once. Were each of their users written by itself, the messages
of those who stay would wait for all of these transactions.
"""

import asyncio
import logging
from contextlib import suppress

from gateway.batches import batches
from gateway.clock import Clock, milliseconds
from gateway.store import users
from gateway.store.engine import Database
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.5
"""How long those who leave are gathered; for longer than that, they still count as there."""

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
        """Store what there is, then stop."""
        if self._writer is not None:
            self._closing.set()
            self._more.set()
            await self._writer
            await self._store_all()

    def note(self, user_id: str) -> None:
        """Note that a user was here until now."""
        self._waiting[user_id] = milliseconds(self._clock)
        self._more.set()

    async def _write(self) -> None:
        while not self._closing.is_set():
            await self._more.wait()
            self._more.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._closing.wait()
            await self._store_all()

    async def _store_all(self) -> None:
        gathered, self._waiting = self._waiting, {}
        for batch in batches(gathered.items(), MAX_BATCH):
            await self._store(dict(batch))

    async def _store(self, seen: dict[str, int]) -> None:
        try:
            await self._database.carry_out(users.saw(seen))
        except Unavailable:  # logged by the store
            self._waiting = seen | self._waiting
            self._more.set()
        except Exception:  # the writer must outlive whatever some users do to it
            logger.exception("when %d users were last here could not be stored", len(seen))
