"""Stops tasks."""

import asyncio
from contextlib import suppress

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


async def cancel_within(seconds: float, *tasks: "asyncio.Task[None]") -> int:
    """Cancel tasks, and return when they have ended, or after so many seconds.

    Stop by force what still runs then: code of an application may swallow each cancellation, and would hold up the end
    of the process. Return the number of these tasks.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    running = {task for task in tasks if not task.done()}
    while running and loop.time() < deadline:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_SECONDS)
    for task in running:
        _stop(task)
    return len(running)


def _stop(task: "asyncio.Task[None]") -> None:
    """Close the coroutine of a task. Its next step fails, which the cancellation brings about."""
    coroutine = task.get_coro()
    if coroutine is not None:
        # What the code raises at this, and what the task ends with, concerns no caller.
        with suppress(BaseException):
            coroutine.close()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    task.cancel()
