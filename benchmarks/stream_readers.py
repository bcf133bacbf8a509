"""Connections that each ask for a stream, in their own process, so that the measuring process need not read it.

It reads its orders from standard input, a line of JSON each. The first has the URLs. Each further one has the number
of tokens and their rate; the answer comes when all streams have ended, with what came.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import uvloop

from benchmarks.child import Child
from benchmarks.client import Client

OPENING = 50
END_SECONDS = 60
"""How long the streams may take beyond their own time."""


class StreamReaders(Child):
    """The connections, as the measuring process sees them: `async with`, then `read`."""

    def __init__(self, urls: Sequence[str], seconds: float) -> None:
        super().__init__(__name__, {"urls": list(urls)}, seconds + 2 * END_SECONDS)

    async def read(self, count: int, per_second: float) -> int:
        """Ask for so many tokens on each connection, and return how many came. Raise if any is missing."""
        chunks: int = await self.ask(json.dumps({"count": count, "per_second": per_second}))
        return chunks


class Reader(Client):
    """A connection that asks for a stream, and counts its chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask(self, count: int, per_second: float) -> None:
        """Ask for a stream."""
        self.tokens = 0
        self.ended = asyncio.get_running_loop().create_future()
        self.send(b'{"type":"tokens","id":1,"stream":true,"data":{"count":%d,"per_second":%f}}' % (count, per_second))

    def take(self, text: bytes) -> None:
        """Count the tokens of a chunk: several may be joined."""
        if text.startswith(b'{"type":"chunk"'):
            self.tokens += text.count(b" quick")
        elif text.startswith(b'{"type":"reply"'):
            self.ended.set_result(None)
        elif not self.ended.done():
            self.ended.set_exception(RuntimeError(f"expected chunks and a reply, got {text!r}"))


async def _connected(urls: Sequence[str]) -> list[Reader]:
    readers = [Reader() for _ in urls]
    for start in range(0, len(urls), OPENING):
        some = list(zip(readers, urls, strict=True))[start : start + OPENING]
        await asyncio.gather(
            *(one for reader, url in some for one in (reader.wait_for(b'{"type":"welcome"'), reader.connect(url)))
        )
    for reader in readers:
        reader.listen()
    return readers


async def _read(readers: Sequence[Reader], count: int, per_second: float) -> int:
    for reader in readers:
        reader.ask(count, per_second)
    async with asyncio.timeout((count / per_second if per_second else 0) + END_SECONDS):
        await asyncio.gather(*(reader.ended for reader in readers))
    tokens = sum(reader.tokens for reader in readers)
    if tokens != count * len(readers):
        raise RuntimeError(f"expected {count * len(readers):,} tokens, got {tokens:,}")
    return tokens


async def _serve() -> None:
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)  # one line has the tokens of all users
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    orders: dict[str, Any] = json.loads(await lines.readline())
    readers = await _connected(orders["urls"])
    print("{}", flush=True)
    while line := await lines.readline():
        print(await _read(readers, **json.loads(line)), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve())
