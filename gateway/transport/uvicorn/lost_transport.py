"""Stands in for the transport of a closed socket.

For a write to a closed socket, uvloop raises `RuntimeError` and asyncio logs a warning. With this, the gateway's code
and uvicorn's may write without checking whether the connection has ended.
"""

import asyncio


class LostTransport(asyncio.Transport):
    """Accepts everything and does nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop the bytes."""

    def close(self) -> None:
        """Do nothing: it is closed already."""

    def abort(self) -> None:
        """Do nothing: it is closed already."""

    def is_closing(self) -> bool:
        """Return True, like a closed transport."""
        return True

    def pause_reading(self) -> None:
        """Do nothing: no bytes will come."""

    def resume_reading(self) -> None:
        """Do nothing: no bytes will come."""

    def get_write_buffer_size(self) -> int:
        """Return 0: no bytes wait."""
        return 0


LOST = LostTransport()
