"""Stops tasks."""

import asyncio
from contextlib import suppress

from handlers.base import Stopped

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


async def cancel_within(seconds: float, *tasks: "asyncio.Task[None]") -> "set[asyncio.Task[None]]":
    """Cancel tasks once, and return when they have ended, or after so many seconds, which they may clean up in.

    A task that is being cancelled already is not cancelled anew. Cancel again what still runs at the end, and stop the
    rest by force: code of an application may swallow each cancellation, and would hold up the end of the process.
    Return the tasks that were stopped. A cancellation of the caller ends the wait.
    """
    running = {task for task in tasks if not task.done()}
    for task in running:
        if not task.cancelling():
            task.cancel()
    try:
        if running:
            _, running = await asyncio.wait(running, timeout=seconds)
        if running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=AGAIN_SECONDS)
    finally:
        for task in running:
            _stop(task)
    return running


def _stop(task: "asyncio.Task[None]") -> None:
    """Raise `Stopped` in the coroutine of a task. Its next step fails, which the cancellation brings about."""
    if task.done():
        return
    coroutine = task.get_coro()
    if coroutine is not None:
        # What the code raises at this, and what the task ends with, concerns no caller.
        with suppress(BaseException):
            coroutine.throw(Stopped())  # before Python 3.12, `close` alone does not reach into async generators
            coroutine.close()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    task.cancel()
