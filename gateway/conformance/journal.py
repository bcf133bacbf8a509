"""What a client did in a story: on the wire, and in the words of its driver."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """Something that happened, and at which second."""

    kind: str
    data: dict[str, Any]
    at: float


class Journal:
    """The entries of a story in their order. A step waits here for what a client comes to do."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._news = asyncio.Event()

    def add(self, kind: str, **data: Any) -> None:
        """Add an entry of this moment."""
        self.entries.append(Entry(kind, data, time.monotonic()))
        self._news.set()
        self._news = asyncio.Event()

    def of(self, kind: str) -> list[Entry]:
        """Return the entries of one kind."""
        return [entry for entry in self.entries if entry.kind == kind]

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until a condition holds, looking after each entry, and return whether it came to hold in time."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await self._news.wait()
        except TimeoutError:
            return holds()
        return True
