"""Ending tasks."""

import asyncio

AGAIN_SECONDS = 0.1


async def stop(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks, and return when all of them have ended; how they did is nobody's business any more.

    Once is not always enough: before Python 3.12, `asyncio.wait_for`, which redis-py uses, may lose a cancellation.
    Whoever is cancelled while it waits here leaves no task running either: it is cancelled when they have ended.
    """
    running = set(tasks)
    cancelled: asyncio.CancelledError | None = None
    while running:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running, timeout=AGAIN_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
        running = {task for task in running if not task.done()}
    await asyncio.gather(*tasks, return_exceptions=True)
    if cancelled is not None:
        raise cancelled
