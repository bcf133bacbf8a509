"""The direct way in and out: the same protocol, whatever way the bytes come, and whichever server runs it."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.cli.serve import server_config
from gateway.transport.uvicorn_protocol import MAX_QUEUED, GatewayProtocol, supported
from tests.client import App
from tests.conftest import OwnGateway

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
WAIT_SECONDS = 5


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
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(raw))


def echo(number: int, data: Any = None) -> str:
    return json.dumps({"type": "echo", "id": number, "data": {"n": number} if data is None else data})


class Wire:
    """A socket after the handshake, on which a test writes bytes and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, data: bytes, *, piece: int | None = None) -> None:
        """Write at once, or in pieces that come one at a time."""
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
        """Read the end."""
        while True:
            opcode, payload = await self.read()
            if opcode == CLOSE:
                assert int.from_bytes(payload[:2]) == code
                return


@asynccontextmanager
async def wire(app: App, name: str) -> AsyncIterator[Wire]:
    token = await app.token(name)
    reader, writer = await asyncio.open_connection(app.gateway.host, app.gateway.port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws/chat?token={token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    async with asyncio.timeout(WAIT_SECONDS):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    connection = Wire(reader, writer)
    opcode, payload = await connection.read()
    assert (opcode, json.loads(payload)["type"]) == (TEXT, "welcome")
    yield connection
    writer.close()


@pytest.fixture
async def line(app: App, alice: str) -> AsyncIterator[Wire]:
    async with wire(app, alice) as connection:
        yield connection


def test_the_installed_libraries_are_as_the_direct_way_takes_them_to_be() -> None:
    assert supported()


@pytest.mark.parametrize("change", ["handle_connect", "parser"])
def test_a_library_that_has_moved_is_noticed_and_not_used(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    if change == "parser":
        monkeypatch.setattr("websockets.streams.StreamReader.at_eof", lambda self: iter(()))
    else:
        monkeypatch.delattr(
            "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol.handle_connect"
        )
    assert not supported()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
async def test_bytes_may_come_in_pieces_of_any_size(line: Wire, size: int) -> None:
    data = b"".join(frame(echo(number)) for number in range(5))
    await line.write(data, piece=size)
    assert [await line.echoed(number) for number in range(5)] == [{"n": number} for number in range(5)]


async def test_many_messages_may_come_at_once_and_a_part_of_the_next(line: Wire) -> None:
    data = b"".join(frame(echo(number)) for number in range(20))
    for cut in (1, 2, 5, 6, 7, 30):
        await line.write(data + frame(echo(20))[:cut])
        for number in range(20):
            await line.echoed(number)
        await line.write(frame(echo(20))[cut:])
        await line.echoed(20)


@pytest.mark.parametrize("length", [1, 80, 125, 126, 127, 4000, 65000])
async def test_a_message_of_any_length_comes_whole(line: Wire, length: int) -> None:
    for text in ("x" * length, "é" * (length // 2)):
        await line.write(frame(json.dumps({"type": "echo", "id": 1, "data": text}, ensure_ascii=False)))
        assert await line.echoed(1) == text


async def test_a_message_may_come_in_fragments_with_a_ping_between(line: Wire) -> None:
    text = echo(1, "in three parts").encode()
    await line.write(frame(text[:5], fin=False) + frame(b"are you there?", PING))
    await line.write(frame(text[5:9], CONTINUATION, fin=False) + frame(text[9:], CONTINUATION) + frame(echo(2)))
    assert await line.read() == (PONG, b"are you there?")
    assert await line.echoed(1) == "in three parts"
    await line.echoed(2)


async def test_a_character_may_be_cut_by_a_fragment(line: Wire) -> None:
    text = json.dumps({"type": "echo", "id": 1, "data": "👋"}, ensure_ascii=False).encode()
    middle = text.index("👋".encode()) + 2
    await line.write(frame(text[:middle], fin=False) + frame(text[middle:], CONTINUATION))
    assert await line.echoed(1) == "👋"


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x12\x34\x56\x78"])
async def test_any_mask_will_do(line: Wire, mask: bytes) -> None:
    await line.write(frame(echo(1), mask=mask))
    await line.echoed(1)


WRONG = {
    "a continuation without a start": (frame("x", CONTINUATION), 1002),
    "a message within a message": (frame("x", fin=False) + frame("y"), 1002),
    "a frame without a mask": (b"\x81\x02hi", 1002),
    "an empty frame without a mask": (b"\x81\x00", 1002),
    "a reserved bit": (bytes([0xC1]) + frame("x")[1:], 1002),
    "a reserved opcode": (frame("x", 3), 1002),
    "a reserved control opcode": (frame("x", 11), 1002),
    "a fragmented ping": (frame("x", PING, fin=False), 1002),
    "a ping of 126 bytes": (frame("x" * 126, PING), 1002),
    "a length with its highest bit": (b"\x81\xff\x80" + b"\0" * 11, 1009),
    "invalid UTF-8": (frame(b"\xff\xfe"), 1007),
    "invalid UTF-8 in fragments": (frame(b"\xc3", fin=False) + frame(b"\x28", CONTINUATION), 1007),
    "a surrogate in UTF-8": (frame(b"\xed\xa0\x80"), 1007),
    "a close of one byte": (frame(b"\x03", CLOSE), 1002),
    "a close with a forbidden code": (frame((1005).to_bytes(2), CLOSE), 1002),
    "a message far too large": (frame("x" * (4 * 65536 + 1))[:20], 1009),
}


@pytest.mark.parametrize(("data", "code"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("before", [b"", frame(echo(1))], ids=["alone", "behind a message"])
async def test_what_breaks_the_protocol_ends_the_connection_with_the_right_code(
    line: Wire, before: bytes, data: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    await line.write(before + data)
    await line.closed(code)
    assert "Traceback" not in caplog.text


async def test_a_close_right_behind_a_message_is_answered(line: Wire) -> None:
    await line.write(frame(echo(1)) + frame((1000).to_bytes(2), CLOSE))
    await line.closed(1000)


async def test_whoever_sends_more_than_is_handled_is_read_no_further_for_a_while(line: Wire) -> None:
    count = MAX_QUEUED * 20
    await line.write(b"".join(frame(echo(number)) for number in range(count)))
    for number in range(count):
        await line.echoed(number)


@pytest.mark.parametrize("server", ["websockets-sansio", "wsproto", "deflate"])
async def test_under_another_protocol_a_conversation_goes_the_same(own_gateway: OwnGateway, server: str) -> None:
    options = {"ws_per_message_deflate": True} if server == "deflate" else {"ws": server}
    async with App(own_gateway(options=options)) as app:
        async with app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
            await ann.expect("room.joined", user="bob")
            for number in range(1, 50):
                await ann.ask("chat.send", room="lobby", text=str(number))
                await ann.expect("chat.message", offset=number)
                await ben.expect("chat.message", offset=number)
            await ann.send("nonsense")
            await ann.expect("error", status=40000)
            await ann.send(b"binary")
            await ann.expect("error", status=40000)
            await ann.send(b"")
            await ben.ask("bye")
            await ben.expect("bye", code=1000)
            await ben.expect_close(1000, "bye")
            await ann.expect_nothing()
        async with app.socket("?token=nonsense") as client:
            await client.expect("error", status=40001)
            await client.expect("bye", code=1008)


def test_the_gateway_is_served_with_the_direct_way(own_gateway: OwnGateway) -> None:
    assert server_config(own_gateway().settings, "gateway.asgi:app").ws is GatewayProtocol
