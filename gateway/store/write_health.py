"""Knows whether the store accepts writes: from the last write, or in doubt from a small probe."""

import asyncio
import time
from collections.abc import Awaitable, Callable

PROBE_SECONDS = 2
"""How long a probe may take before the store counts as down. It continues, and no other one starts meanwhile."""

FRESH_SECONDS = 1
"""How long an answer counts. There is at most one probe in this time."""


class WriteHealth:
    """The current state of the store's writes."""

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        """Use `probe`, which makes one small write. Its outcome is recorded like that of any write."""
        self._probe = probe
        self._noted = self._probed = float("-inf")
        self._probing: asyncio.Task[None] | None = None
        self.takes_writes = True
        """Whether the last write succeeded."""

    def record(self, *, made: bool) -> None:
        """Record the outcome of a write."""
        self.takes_writes = made
        self._noted = time.monotonic()

    async def check(self) -> bool:
        """Return whether the store accepts writes, after a probe if the last outcome is too old."""
        if self._is_doubtful() and self._probing is None:
            self._probed = time.monotonic()
            self._probing = asyncio.create_task(self._find_out())
        if self._probing is not None:
            await asyncio.wait({self._probing}, timeout=PROBE_SECONDS)
            if self._probing is not None:
                self.record(made=False)
        return self.takes_writes

    async def close(self) -> None:
        """Cancel a running probe."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    def _is_doubtful(self) -> bool:
        now = time.monotonic()
        made_just_now = self.takes_writes and now - self._noted < FRESH_SECONDS
        return not made_just_now and now - self._probed >= FRESH_SECONDS

    async def _find_out(self) -> None:
        try:
            await self._probe()
        except Exception:
            self.record(made=False)
        finally:
            self._probing = None
