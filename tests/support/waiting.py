"""Waiting for something that is not announced: what another task, thread or process comes to do."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

WAIT_SECONDS = 20
"""Far more than anything takes here, even on a busy machine."""

LOOK_SECONDS = 0.005


async def until(holds: Callable[[], object | Awaitable[object]], within: float = WAIT_SECONDS) -> None:
    """Wait until a condition holds, or fail after so many seconds. Its result may be awaitable."""
    async with asyncio.timeout(within):
        while True:
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(LOOK_SECONDS)
