"""What a streaming handler yields, and the whole of it for a client that wants one reply.

A handler streams if its `handle` is an async generator. It yields chunks and, last, a `Reply` if the closing reply has
data. A client that asked with `"stream": true` gets each chunk at once. Every other client gets the whole:

- `{"text": "…"}` if all chunks are texts, joined;
- `{"items": […]}` if they are not;
- beside it the keys of the closing reply, which win.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, RootModel
from pydantic_core import from_json

from schemas.encoding import encode

MOST_UNBROKEN = 32
"""The most chunks in a row without a turn of the event loop."""
UNBROKEN_SECONDS = 0.001
"""How long they may take."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The data of the closing reply. It comes last."""

    data: BaseModel


Chunk: TypeAlias = str | int | float | BaseModel | Mapping[str, Any] | Sequence[Any] | Reply
"""What a streaming handler yields: anything that JSON holds but None, or a `Reply`."""


class Unwanted(Exception):
    """Nothing more of an answer reaches the client."""


class WholeReply(RootModel[dict[str, Any]]):
    """All chunks of an answer as the data of one reply."""


class Whole:
    """The chunks of an answer for a client that wants one reply."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._is_text = True
        self._chunks: list[bytes] = []  # as JSON, since the handler may change what it has yielded

    def add(self, chunk: Chunk) -> None:
        """Keep a chunk. Raise `ValueError` for what JSON cannot hold, and for too much."""
        encoded = encode(chunk)
        self._size += len(encoded) + 1
        if self._size > self._max_bytes:
            raise ValueError(f"expected chunks of at most {self._max_bytes} bytes for a client that wants one reply")
        self._is_text = self._is_text and isinstance(chunk, str)
        self._chunks.append(encoded)

    def reply(self, closing: BaseModel) -> BaseModel:
        """Return the reply's data. Raise `TypeError` if the closing data has no keys to add to the chunks."""
        if not self._chunks:
            return closing
        added = from_json(encode(closing))
        if not isinstance(added, dict):
            raise TypeError(f"expected an object as the closing data beside chunks, got {type(added).__name__}")
        chunks = from_json(b"[%b]" % b",".join(self._chunks))
        return WholeReply(({"text": "".join(chunks)} if self._is_text else {"items": chunks}) | added)


class Pace:
    """Lets other tasks run beside a generator that never waits."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._unbroken = 0
        self._began = 0.0

    def needs_turn(self) -> bool:
        """Count a chunk, and return whether the event loop has had no turn for some chunks or for a millisecond."""
        now = time.perf_counter()
        if not self._unbroken:
            self._began = now
            self._loop.call_soon(self._had_turn)
        self._unbroken += 1
        return self._unbroken >= MOST_UNBROKEN or now - self._began > UNBROKEN_SECONDS

    def _had_turn(self) -> None:
        self._unbroken = 0
