"""What hostile clients do: they hold connections without an end, or send far more than is allowed.

All have the address 127.0.0.2, and one of them costs this process next to nothing: frames are made once, and no answer
is parsed. What they send in a second has a bound, so that their own CPU is not what the others feel.
"""

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import orjson

ADDRESS = "127.0.0.2"
DRIP_SECONDS = 0.5
"""Between two bytes of a client that sends slowly."""

GIVE_UP_SECONDS = 20
TALKERS = 5
TALKER_RATE = 15
NOT_READING_SECONDS = 8
LOG_INS, HANDSHAKES, WRONG_FRAMES = 20, 60, 300
"""How many a second all clients of an attack reach together on a busy machine.

Each waits for its answers, and a client whose frames are wrong is sent away after ten, and has to come again.
"""

ETHERNET_SEGMENT = 1448
RECEIVE_BUFFER = 16 * 1024
"""As over Ethernet: on the loopback interface, the kernel would keep megabytes for a client that does not read."""

TEXT, BINARY, PING = 1, 2, 9
SWITCHING = b"HTTP/1.1 101 "
WELCOME = b'{"type":"welcome"'
BYE = b'{"type":"bye"'

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def frame(payload: bytes, opcode: int = TEXT, *, length: int | None = None, ends: bool = True) -> bytes:
    """Return a frame from a client. Its mask is zero, so the payload stays as it is. `length` may promise more."""
    size = len(payload) if length is None else length
    first = bytes([(0x80 if ends else 0) | opcode])
    if size < 126:
        return first + bytes([0x80 | size]) + bytes(4) + payload
    if size < 65536:
        return first + bytes([0x80 | 126]) + size.to_bytes(2) + bytes(4) + payload
    return first + bytes([0x80 | 127]) + size.to_bytes(8) + bytes(4) + payload


def message(type: str, number: int = 1, *, stream: bool = False, **data: Any) -> bytes:
    """Return the frame of a message."""
    return frame(orjson.dumps({"type": type, "id": number, "data": data} | ({"stream": True} if stream else {})))


class Hostile:
    """What all hostile clients of an attack share."""

    def __init__(self, port: int, tokens: Sequence[str], room: str) -> None:
        self.port = port
        self.room = room
        self.counts: Counter[str] = Counter()
        self._tokens = tokens

    def token(self, number: int) -> str:
        """Return the token of one of the users."""
        return self._tokens[number % len(self._tokens)]

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Streams]:
        """Open a TCP connection, and cut it at the end."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, ETHERNET_SEGMENT)
        sock.setblocking(False)
        try:
            sock.bind((ADDRESS, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            streams = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        self.counts["connections"] += 1
        try:
            yield streams
        finally:
            streams[1].transport.abort()

    @asynccontextmanager
    async def socket(self, token: str | None) -> AsyncIterator[Streams]:
        """Open a WebSocket, up to the answer of its handshake. Raise `ConnectionError` if it is refused."""
        async with self.connection() as (reader, writer):
            writer.write(self.handshake(token))
            async with asyncio.timeout(GIVE_UP_SECONDS):
                answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(SWITCHING):
                self.counts[f"handshakes answered with {answer[9:12].decode(errors='replace')}"] += 1
                raise ConnectionError("the gateway refuses the handshake")
            yield reader, writer

    @asynccontextmanager
    async def welcomed(self, number: int) -> AsyncIterator[Streams]:
        """Open a WebSocket as one of the users, up to the welcome. Raise `ConnectionError` if none comes."""
        async with self.socket(self.token(number)) as (reader, writer):
            async with asyncio.timeout(GIVE_UP_SECONDS):
                first = await _payload(reader)
            if not first.startswith(WELCOME):
                raise ConnectionError(f"the gateway does not welcome: {first[:200]!r}")
            self.counts["welcomes"] += 1
            yield reader, writer

    def handshake(self, token: str | None) -> bytes:
        """Return the request for a WebSocket."""
        query = "" if token is None else f"?token={token}"
        lines = [
            f"GET /ws/chat{query} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def drip(self, streams: Streams) -> None:
        """Send a byte now and then until the gateway closes."""
        reader, writer = streams
        ended = asyncio.create_task(_read_to_end(reader))
        try:
            while not ended.done():
                writer.write(b"a")
                self.counts["bytes dripped"] += 1
                await asyncio.wait([ended], timeout=DRIP_SECONDS)
        finally:
            ended.cancel()
        raise ConnectionError("the gateway has closed")

    async def flood(self, streams: Streams, frames: Callable[[int], bytes], per_second: int) -> None:
        """Send so many frames a second, read all answers, and do not heed them."""
        reader, writer = streams
        ended = asyncio.create_task(_read_to_end(reader))
        number, share = 0, max(1, per_second // 20)
        try:
            while not ended.done():
                writer.write(b"".join(frames(number + each) for each in range(share)))
                number += share
                self.counts["frames"] += share
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    await writer.drain()
                await asyncio.wait([ended], timeout=share / per_second)
        finally:
            ended.cancel()
        raise ConnectionError("the gateway has closed")


async def _payload(reader: asyncio.StreamReader) -> bytes:
    """Return the content of the next frame from the gateway."""
    size = (await reader.readexactly(2))[1]
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    return await reader.readexactly(size)


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    """Read until the gateway closes, or says so: it handles nothing after a `bye`, and waits for a close frame."""
    with suppress(OSError):
        while (data := await reader.read(65536)) and BYE not in data:
            pass


Life = Callable[[Hostile, int], Awaitable[None]]


class Attack(NamedTuple):
    """How many hostile clients do the same, and what one of them does until it is cut off."""

    clients: int
    live: Life
    kind: str = "welcomes"
    """What each client has at least once if the attack takes place."""
    many: str = ""
    """What all of them together do again and again."""
    per_second: float = 0.0
    """How often. The bar is half of it."""

    def least(self, seconds: float) -> dict[str, int]:
        """Return the counts that an attack of so many seconds reaches at the least."""
        found = {self.kind: self.clients}
        return found | {self.many: int(self.per_second * seconds / 2)} if self.many else found


def shortfall(least: Mapping[str, int], counts: Mapping[str, int]) -> str:
    """Return in words which counts an attack has not reached."""
    return ", ".join(f"{counts.get(name, 0):,} {name}" for name, most in least.items() if counts.get(name, 0) < most)


async def _never_read(hostile: Hostile, number: int) -> None:
    """Join a room where much is said, and read none of it. The first ones say it."""
    async with hostile.welcomed(number) as (reader, writer):
        writer.write(message("room.join", room=hostile.room, limit=0))
        if number < TALKERS:
            said = message("chat.send", room=hostile.room, text="Read this! " * 350)
            await hostile.flood((reader, writer), lambda _number: said, TALKER_RATE)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(NOT_READING_SECONDS)


async def _slow_headers(hostile: Hostile, number: int) -> None:
    async with hostile.connection() as streams:
        streams[1].write(b"GET / HTTP/1.1\r\nHost: slow\r\nX-Long: ")
        await hostile.drip(streams)


async def _slow_bodies(hostile: Hostile, number: int) -> None:
    async with hostile.connection() as streams:
        form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5000\r\n\r\n"
        streams[1].write(b"POST /token HTTP/1.1\r\nHost: slow\r\n" + form)
        await hostile.drip(streams)


async def _slow_handshakes(hostile: Hostile, number: int) -> None:
    """Stop in the middle of the request, or come without a credential and stop in the first message."""
    if number % 2:
        async with hostile.connection() as streams:
            streams[1].write(hostile.handshake(hostile.token(number))[:-10])
            await hostile.drip(streams)
    else:
        async with hostile.socket(None) as streams:
            streams[1].write(frame(b'{"type":"auth",', length=5000))
            await hostile.drip(streams)


async def _half_frames(hostile: Hostile, number: int) -> None:
    """Begin a frame, or a message in fragments, and never end it."""
    async with hostile.welcomed(number) as streams:
        half = frame(b'{"type":', length=60_000) if number % 2 else frame(b'{"type":', ends=False)
        streams[1].write(half)
        if number % 2:
            await hostile.drip(streams)
        await _read_to_end(streams[0])
        raise ConnectionError("the gateway has closed")


def _flood(clients: int, per_second: int, frames: Callable[[Hostile, int, int], bytes]) -> Attack:
    async def live(hostile: Hostile, number: int) -> None:
        async with hostile.welcomed(number) as streams:
            await hostile.flood(streams, lambda count: frames(hostile, number, count), per_second)

    return Attack(clients, live, many="frames", per_second=clients * per_second)


def _nonsense(_hostile: Hostile, _number: int, count: int) -> bytes:
    return NONSENSE[count % len(NONSENSE)]


NONSENSE = (
    frame(b"no JSON"),
    frame(b'{"type":"no.such"}'),
    frame(b"[]"),
    frame(b"\x00\x01", BINARY),
    frame(b"{" * 500),
)


def _ping(_hostile: Hostile, _number: int, _count: int) -> bytes:
    return frame(b"hello", PING)


def _join(hostile: Hostile, number: int, count: int) -> bytes:
    room = f"{hostile.room}-{count % 20}"
    return message("room.leave", room=room) if count % 40 >= 20 else message("room.join", room=room)


def _big(hostile: Hostile, number: int, count: int) -> bytes:
    return BIG[count % 2]


BIG = (
    message("chat.send", room="hostile", text="x" * 31_000),
    message("chat.send", room="hostile", text="x" * 150_000),
)


def _room(hostile: Hostile, number: int, count: int) -> bytes:
    return message("room.create", room=f"{hostile.room}-{number}-{secrets.token_hex(6)}")


def _stream(hostile: Hostile, number: int, count: int) -> bytes:
    stream = count // 2
    if count % 2:
        return frame(b'{"type":"cancel","id":%d,"data":{"id":%d}}' % (stream + 1_000_000, stream))
    return message("count.slowly", stream, stream=True, most=1000)


async def _log_ins(hostile: Hostile, number: int) -> None:
    """Guess passwords, with names that are there and names that are not."""
    while True:
        name = f"hostile-{number}" if hostile.counts["log-ins"] % 2 else f"guess-{secrets.token_hex(4)}"
        body = f"username={name}&password={secrets.token_hex(8)}".encode()
        async with hostile.connection() as (reader, writer):
            head = f"POST /token HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
            writer.write(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + body)
            async with asyncio.timeout(GIVE_UP_SECONDS):
                answer = await reader.read(65536)
            hostile.counts["log-ins"] += 1
            hostile.counts[f"log-ins answered with {answer[9:12].decode(errors='replace')}"] += 1
        await asyncio.sleep(0.1)


async def _handshakes(hostile: Hostile, number: int) -> None:
    """Come with a token that is none."""
    while True:
        async with hostile.socket(f"no.such.{number}") as (reader, _writer):
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await reader.read(65536)  # the refusal, but not the end
            hostile.counts["refusals"] += 1
        await asyncio.sleep(0.1)


ATTACKS: Mapping[str, Attack] = {
    "100 never read": Attack(100 + TALKERS, _never_read, many="frames", per_second=TALKERS * TALKER_RATE),
    "100 send headers slowly": Attack(100, _slow_headers, "connections"),
    "100 send bodies slowly": Attack(100, _slow_bodies, "connections"),
    "100 shake hands slowly": Attack(100, _slow_handshakes, "connections"),
    "100 send half frames": Attack(100, _half_frames),
    "a flood of wrong frames": _flood(20, 100, _nonsense)._replace(per_second=WRONG_FRAMES),
    "a flood of pings": _flood(20, 100, _ping),
    "a flood of joins": _flood(20, 40, _join),
    "a flood of log-ins": Attack(20, _log_ins, "connections", "log-ins", LOG_INS),
    "a flood of handshakes": Attack(20, _handshakes, "connections", "refusals", HANDSHAKES),
    "a flood of big messages": _flood(10, 20, _big),
    "a flood of rooms": _flood(10, 40, _room),
    "a flood of cancelled streams": _flood(10, 40, _stream),
}
