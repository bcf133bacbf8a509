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
    """Has what has come from one client. What is there is taken without waiting; only then it is waited for."""

    def take(self) -> str | Event | None:
        """Take the next text, or the ASGI event of whatever else came; None if `arrival` has to be awaited first."""

    def arrival(self) -> Awaitable[None]:
        """Wait until there may be something to take. One at a time waits."""

    def wake(self) -> None:
        """Have `arrival` end, with a disconnect to be taken before there is one."""


class AsgiReader:
    """Reads with an ASGI server's `receive`."""

    def __init__(self, receive: Callable[[], Awaitable[Any]], writer: Writer) -> None:
        self._receive = receive
        self._writer = writer
        self._event: Event | None = None
        self._waiting: asyncio.Task[Any] | None = None
        self._woken = False

    def take(self) -> Event | None:
        """Take what has been received."""
        event, self._event = self._event, None
        return event

    async def arrival(self) -> None:
        """Receive one event."""
        self._waiting = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        try:
            if not self._writer.ready:
                # Messages that came at once are received without a pause, and their replies would only pile up.
                await asyncio.sleep(0)
            self._event = await self._receive()
        except asyncio.CancelledError:
            if not self._woken:
                raise
            task.uncancel()
            self._event = DISCONNECT
        finally:
            self._waiting = None

    def wake(self) -> None:
        """Cancel the wait, if anybody waits."""
        if self._waiting is not None:
            self._woken = True
            self._waiting.cancel()
