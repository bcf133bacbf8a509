"""Where an outbox writes to: a socket's transport, or an ASGI server's `send`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from starlette.websockets import WebSocketDisconnect

from gateway.transport.frames import Frame


class Writer(Protocol):
    """Takes frames for one client. While it is not ready, frames wait in the outbox."""

    ready: bool
    on_ready: Callable[[], None]
    """Called when it has become ready."""

    def write(self, frame: Frame) -> None:
        """Take a frame; never waits and never raises, also when the client is gone."""

    def abort(self) -> None:
        """Cut the connection, where that can be done; forget what is not written yet."""


class AsgiWriter:
    """Writes with `websocket.send`, which waits for slow readers, in a task that lasts as long as it has to."""

    def __init__(self, send_text: Callable[[str], Awaitable[None]]) -> None:
        self.ready = True
        self.on_ready: Callable[[], None] = nothing
        self._send_text = send_text
        self._sending: asyncio.Task[None] | None = None

    def write(self, frame: Frame) -> None:
        """Take a frame."""
        self.ready = False
        self._sending = asyncio.create_task(self._send(frame))

    def abort(self) -> None:
        """Forget what is not written yet; only the end of the endpoint ends the connection."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self, frame: Frame) -> None:
        # If the client is gone, the endpoint hears of it as well, and cleans up.
        with suppress(WebSocketDisconnect, RuntimeError, OSError):
            for text in frame.texts:
                await self._send_text(text.decode())
        self.ready = True
        self.on_ready()


def nothing() -> None:
    """Do nothing, until an outbox says what to do, and when it has let go."""
