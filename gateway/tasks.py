"""Ending tasks."""

import asyncio

AGAIN_SECONDS = 0.1


async def stop(*tasks: "asyncio.Task[None]") -> None:
    """Cancel tasks, until all of them have ended; how they did is nobody's business any more.

    Once is not always enough: before Python 3.12, `asyncio.wait_for`, which redis-py uses, may lose a cancellation.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
