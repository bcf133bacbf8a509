"""Ends a connection so that a client that still writes learns why.

A socket that is closed with unread input is reset, and the client's system then drops what it has not read yet: also
the close frame. So this end only closes the way out, and reads on for a while without a look at what comes.
"""

import asyncio
from typing import Any

LINGER_SECONDS = 1
"""Seconds in which the client may read the close frame and close, too."""

DISCARDED_BYTES = 1024 * 1024
"""Bytes to read meanwhile. Beyond them the socket is not read, and holds the client back."""


class LingeringTransport(asyncio.Transport):
    """A socket's transport that counts as closed from the call of `close`, and is closed a little later."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._discarded = 0
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, up to the close."""
        if not self.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Send the end after what is written, and close when the client has closed or the time is over."""
        if self.is_closing():
            return
        self._closing = True
        if not self._transport.can_write_eof():  # as with TLS
            self._transport.close()
            return
        self._transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, self._transport.abort)

    def discard(self, size: int) -> None:
        """Count bytes that came after the end."""
        self._discarded += size
        if self._discarded > DISCARDED_BYTES and not self._transport.is_closing():
            self._transport.pause_reading()

    def is_closing(self) -> bool:
        """Return whether `close` was called, or the socket closes."""
        return self._closing or self._transport.is_closing()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Stop reading."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Continue to read."""
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the client."""
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows."""
        return self._transport.get_extra_info(name, default)
