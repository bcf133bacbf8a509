"""The targets of an outbox: a socket's transport, or an ASGI server's `send`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.websockets import WebSocketDisconnect

from gateway.transport.frames import Frame


class Writer(Protocol):
    """Sends frames to one client. While it is not ready, frames wait in the outbox."""

    ready: bool
    on_ready: Callable[[], None]
    """A function to call when the writer has become ready."""
    closed: bool
    """Whether nothing more reaches the client."""

    def write(self, frame: Frame) -> None:
        """Send a frame. This never waits and never raises, even if the client is gone."""

    def abort(self) -> None:
        """Cut the connection, if that is possible, and drop unsent frames."""


class AsgiWriter:
    """Sends with `websocket.send`, which waits for slow readers, in a task that runs as long as necessary."""

    def __init__(self, send_text: Callable[[str], Awaitable[None]]) -> None:
        self.ready = True
        self.on_ready: Callable[[], None] = nothing
        self.closed = False
        self._send_text = send_text
        self._sending: asyncio.Task[None] | None = None

    def write(self, frame: Frame) -> None:
        """Send a frame in a task."""
        self.ready = False
        self._sending = asyncio.create_task(self._send(frame))

    def abort(self) -> None:
        """Drop unsent frames. The connection ends with the endpoint."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self, frame: Frame) -> None:
        # If the client is gone, the endpoint notices it as well, and cleans up.
        try:
            for text in frame.texts:
                await self._send_text(text.decode())
        except (WebSocketDisconnect, RuntimeError, OSError):
            self.closed = True
        self.ready = True
        self.on_ready()


def nothing() -> None:
    """Do nothing: the callback before an outbox has set its own, and after it has detached."""
