"""Where a connection's messages come from: a socket's own queue, or an ASGI server's `receive`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gateway.transport.writers import Writer

Event = dict[str, Any]
"""An ASGI event of a WebSocket."""

DISCONNECT: Event = {"type": "websocket.disconnect", "code": 1006}
"""Stands for the end of a connection that has not ended yet."""


class Reader(Protocol):
    """Has what has come from one client: texts, and ASGI events for all else."""

    def get_nowait(self) -> str | Event | None:
        """Take the next thing without waiting; None if there is nothing, or others must have a turn first."""

    def get(self) -> Awaitable[str | Event]:
        """Wait for the next thing, after `get_nowait` has given none. One at a time waits."""

    def wake(self) -> None:
        """Have `arrival` end, with a disconnect."""


class AsgiReader:
    """Reads with an ASGI server's `receive`."""

    def __init__(self, receive: Callable[[], Awaitable[Any]], writer: Writer) -> None:
        self._receive = receive
        self._writer = writer
        self._waiting: asyncio.Task[Any] | None = None
        self._woken = False

    def get_nowait(self) -> None:
        """Take nothing: what is there is only found by waiting."""

    async def get(self) -> Event:
        """Receive the next event."""
        self._waiting = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        try:
            if not self._writer.ready:
                # Messages that came at once are received without a pause, and their replies would only pile up.
                await asyncio.sleep(0)
            event: Event = await self._receive()
        except asyncio.CancelledError:
            if not self._woken:
                raise
            task.uncancel()
            return DISCONNECT
        finally:
            self._waiting = None
        return event

    def wake(self) -> None:
        """Cancel the wait, if anybody waits."""
        if self._waiting is not None:
            self._woken = True
            self._waiting.cancel()
