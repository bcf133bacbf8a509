"""Waiting for something that is not announced: what another task, thread or process comes to do."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

WAIT_SECONDS = 20
"""Far more than anything takes here, even on a busy machine."""

FIRST_LOOK_SECONDS = 0.005
LAST_LOOK_SECONDS = 0.05
"""The pauses between two looks. They grow with the wait, because many looks ask a store."""


async def until(holds: Callable[[], object | Awaitable[object]], within: float = WAIT_SECONDS) -> None:
    """Wait until a condition holds, or fail after so many seconds. Its result may be awaitable."""
    async with asyncio.timeout(within):
        pause = FIRST_LOOK_SECONDS
        while True:
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.25, LAST_LOOK_SECONDS)
