"""The sources of a connection's messages: a socket's own queue, or an ASGI server's `receive`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gateway.transport.writers import Writer

Event = dict[str, Any]
"""An ASGI event of a WebSocket."""

DISCONNECT: Event = {"type": "websocket.disconnect", "code": 1006}
"""Stands for the end of a connection that is still open."""


class Reader(Protocol):
    """Receives from one client: texts, and ASGI events for everything else."""

    def read_nowait(self) -> str | Event | None:
        """Return the next item without waiting, or None if there is none or other tasks must have a turn first."""

    def read(self) -> Awaitable[str | Event]:
        """Wait for the next item, after a read without waiting has found none. Only one task at a time may wait."""

    def wake(self) -> None:
        """End the wait with a disconnect."""


class AsgiReader:
    """Reads through an ASGI server's `receive`."""

    def __init__(self, receive: Callable[[], Awaitable[Any]], writer: Writer) -> None:
        self._receive = receive
        self._writer = writer
        self._waiting: asyncio.Task[Any] | None = None
        self._woken = False

    def read_nowait(self) -> None:
        """Return None: an ASGI server has no read without waiting."""

    async def read(self) -> Event:
        """Return the next event."""
        self._waiting = task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        try:
            if not self._writer.ready:
                # Without a pause, a burst of messages would be received at once, and their replies would pile up.
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
        """End a wait, if there is one."""
        if self._waiting is not None:
            self._woken = True
            self._waiting.cancel()
