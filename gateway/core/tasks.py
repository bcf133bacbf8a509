"""Stops tasks."""

import asyncio

AGAIN_SECONDS = 0.1


async def cancel_and_wait(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks, return when all of them have ended, and ignore their results.

    One cancellation is not always enough: before Python 3.12, `asyncio.wait_for`, which redis-py uses, may lose it. A
    cancellation of the caller takes effect only when all tasks have ended, so that none keeps running.
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
