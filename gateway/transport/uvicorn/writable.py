"""Whether the transport of a connection takes more bytes."""

import asyncio


class Writable:
    """A flag to wait for, in place of an `asyncio.Event`, which has 700 bytes also while nothing waits."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._is_set = True
        self._event: asyncio.Event | None = None

    def is_set(self) -> bool:
        """Return whether the transport takes more bytes."""
        return self._is_set

    def set(self) -> None:
        """Let all go on that wait."""
        self._is_set = True
        event, self._event = self._event, None
        if event is not None:
            event.set()

    def clear(self) -> None:
        """Let all wait that come from now on."""
        self._is_set = False

    async def wait(self) -> None:
        """Wait until the transport takes more bytes."""
        if not self._is_set:
            self._event = self._event or asyncio.Event()
            await self._event.wait()
