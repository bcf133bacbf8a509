"""A client that writes raw bytes: any frames, with no library in between."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.testing import Gateway
from tests.support.client import App

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
WAIT_SECONDS = 20


def frame(payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A client's frame, byte by byte."""
    raw = payload.encode() if isinstance(payload, str) else payload
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(raw) < 126:
        head += bytes([0x80 | len(raw)])
    elif len(raw) < 65536:
        head += bytes([0x80 | 126]) + len(raw).to_bytes(2)
    else:
        head += bytes([0x80 | 127]) + len(raw).to_bytes(8)
    # As one number each: some tests make megabytes of frames.
    key = (mask * (len(raw) // 4 + 1))[: len(raw)]
    return head + mask + (int.from_bytes(raw) ^ int.from_bytes(key)).to_bytes(len(raw))


def echo(number: int, data: Any = None) -> str:
    """A message that is echoed."""
    return json.dumps({"type": "echo", "id": number, "data": {"n": number} if data is None else data})


class Wire:
    """A socket after the handshake, on which a test writes bytes and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, data: bytes, *, piece: int | None = None) -> None:
        """Write at once, or in pieces, one at a time."""
        for start in range(0, len(data), piece or len(data)):
            self.writer.write(data[start : start + (piece or len(data))])
            await self.writer.drain()
            if piece is not None:
                await asyncio.sleep(0)

    async def read(self) -> tuple[int, bytes]:
        """Read one frame: its opcode and payload."""
        async with asyncio.timeout(WAIT_SECONDS):
            first, second = await self.reader.readexactly(2)
            assert first & 0x70 == 0
            length = second
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2))
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def echoed(self, number: int) -> Any:
        """Read the answer to an echo."""
        opcode, payload = await self.read()
        assert opcode == TEXT
        answer = json.loads(payload)
        assert (answer["type"], answer["id"]) == ("reply", number), answer
        return answer["data"]

    async def closed(self, code: int) -> None:
        """Read the end of the connection."""
        while True:
            opcode, payload = await self.read()
            if opcode == CLOSE:
                assert int.from_bytes(payload[:2]) == code
                return


def handshake(token: str) -> bytes:
    """A client's handshake."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /ws/chat?token={token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


@asynccontextmanager
async def opened(
    gateway: Gateway, data: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect, and write bytes."""
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    writer.write(data)
    try:
        yield reader, writer
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return everything until the end."""
    async with asyncio.timeout(WAIT_SECONDS):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def wire(app: App, name: str) -> AsyncIterator[Wire]:
    """Connect as a user, up to the welcome."""
    token = await app.token(name)
    reader, writer = await asyncio.open_connection(app.gateway.host, app.gateway.port)
    writer.write(handshake(token))
    async with asyncio.timeout(WAIT_SECONDS):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    connection = Wire(reader, writer)
    opcode, payload = await connection.read()
    assert (opcode, json.loads(payload)["type"]) == (TEXT, "welcome")
    try:
        yield connection
    finally:
        writer.close()
