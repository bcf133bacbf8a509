"""A connection that writes raw bytes, and reads frames meanwhile: a server may answer before all is written."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.support.wire import CLOSE, PING, PONG, frame, handshake

WAIT_SECONDS = 20

Received = tuple[int, bytes]
"""The opcode and the payload of a frame."""


class BrokenFrame(ValueError):
    """The gateway has sent what no client may accept."""


class Line:
    """A socket after the handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames: asyncio.Queue[Received | None] = asyncio.Queue()
        self._seen: Received | None = None
        self.ended = asyncio.Event()
        """Set when the gateway has closed the socket."""
        self._broken: BrokenFrame | None = None
        self._reading = asyncio.create_task(self._read())

    async def write(self, data: bytes, piece: int | None = None) -> None:
        """Write bytes at once or in pieces, as far as the gateway takes them."""
        with suppress(ConnectionError, RuntimeError):  # uvloop's error for a closed socket is the latter
            for start in range(0, len(data), piece or len(data) or 1):
                if self.ended.is_set():
                    return
                self._writer.write(data[start : start + (piece or len(data))])
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._writer.drain()
                if piece is not None:
                    await asyncio.sleep(0)

    async def say(self, message: dict[str, Any]) -> None:
        """Write a message of the protocol."""
        await self.write(frame(json.dumps(message)))

    async def look(self, seconds: float = WAIT_SECONDS) -> Received | None:
        """Return the next frame without taking it, or None at the end.

        Raise `TimeoutError` if neither comes, and `BrokenFrame` if the gateway ended with one.
        """
        if self._seen is None:
            async with asyncio.timeout(seconds):
                self._seen = await self._frames.get()
            if self._seen is None:
                self._frames.put_nowait(None)  # for the next look
                if self._broken is not None:
                    raise self._broken
        return self._seen

    async def read(self) -> Received | None:
        """Take the next frame, or return None at the end."""
        seen = await self.look()
        self._seen = None
        return seen

    async def answer(self, number: int) -> dict[str, Any]:
        """Take frames up to the answer to a message. Raise `ConnectionError` at the end."""
        while (received := await self.read()) is not None:
            opcode, payload = received
            if opcode == CLOSE:
                break
            if opcode != PONG and (answer := json.loads(payload)).get("id") == number:
                return dict(answer)
        raise ConnectionError("the gateway has closed the connection")

    async def close(self) -> None:
        """Cut the connection."""
        self._reading.cancel()
        self._writer.transport.abort()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while True:
                opcode, payload = await self._next()
                if opcode == PING:
                    await self.write(frame(payload, PONG))
                else:
                    self._frames.put_nowait((opcode, payload))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except BrokenFrame as error:
            self._broken = error
        self.ended.set()
        self._frames.put_nowait(None)

    async def _next(self) -> Received:
        first, length = await self._reader.readexactly(2)
        if first & 0xF0 != 0x80 or length & 0x80:
            raise BrokenFrame(f"expected a whole frame without a mask, got {first:02x} {length:02x}")
        if length > 125:
            length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8))
        return first & 0x0F, await self._reader.readexactly(length)


@asynccontextmanager
async def opened(port: int, token: str) -> AsyncIterator[Line]:
    """Connect with a token, up to the welcome."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(handshake(token))
    async with asyncio.timeout(WAIT_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in head.partition(b"\r\n")[0]:
        writer.close()
        raise ConnectionError(f"the handshake was refused: {head.partition(bytes([13]))[0].decode()}")
    line = Line(reader, writer)
    try:
        received = await line.read()
        if received is None or json.loads(received[1]).get("type") != "welcome":
            raise ConnectionError(f"expected a welcome, got {received}")
        yield line
    finally:
        await line.close()
