"""Writes the answer to a handshake together with what follows it in the same turn of the event loop.

A write to a socket is a system call, which takes a tenth of all that a connection costs. Most clients get their welcome
right behind the answer.
"""

import asyncio
from collections.abc import Callable
from typing import Any


class FirstWrite:
    """Stands in for a connection's transport until the first write, or until `flush`."""

    __slots__ = ("_answer", "_step_back", "_transport")

    def __init__(self, transport: Any, answer: bytes, step_back: Callable[[], asyncio.Transport]) -> None:
        """Keep `answer` for the first write. `step_back` puts the transport back, and returns what to write to."""
        self._transport = transport
        self._answer = answer
        self._step_back = step_back

    def write(self, data: bytes) -> None:
        """Write the answer and the data."""
        answer, self._answer = self._answer, b""
        self._step_back().write(answer + data)

    def flush(self) -> None:
        """Write the answer alone if nothing was written after it."""
        if self._answer and not self._transport.is_closing():
            self.write(b"")

    def close(self) -> None:
        """Write the answer, and close the connection."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
