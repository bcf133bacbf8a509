"""What stands in the place of a transport that is gone.

uvloop raises `RuntimeError` for a write to a socket that is closed, asyncio logs a warning for each. Code that has not
heard of the end yet, ours and uvicorn's, must not have to look before it writes.
"""

import asyncio


class LostTransport(asyncio.Transport):
    """Takes everything and does nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop it."""

    def close(self) -> None:
        """Do nothing: it is closed."""

    def abort(self) -> None:
        """Do nothing: it is closed."""

    def is_closing(self) -> bool:
        """Return True, as a closed transport does."""
        return True

    def pause_reading(self) -> None:
        """Do nothing: nothing comes any more."""

    def resume_reading(self) -> None:
        """Do nothing: nothing comes any more."""

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing waits."""
        return 0


LOST = LostTransport()
