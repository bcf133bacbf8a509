"""Services behind routes, good ones and a zoo of bad ones: real servers on loopback, which write any bytes."""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FORGED = "FORGED-by-the-service"
"""A text of the zoo that no client may ever see."""


@dataclass(frozen=True)
class Request:
    """One request, as it came."""

    head: bytes
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class Conversation:
    """One connection to a service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[Request]) -> None:
        self._reader = reader
        self.writer = writer
        self._requests = requests

    async def head(self) -> bytes:
        """Read the head of the next request, or raise `IncompleteReadError` at the end."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def request(self) -> Request:
        """Read the next request."""
        head = await self.head()
        lines = head.decode().split("\r\n")[1:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        request = Request(head, headers, await self._reader.readexactly(int(headers["content-length"])))
        self._requests.append(request)
        return request

    async def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, content: Any, status: int = 200, **headers: object) -> None:
        """Write an answer: bytes as they are, anything else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = {"content-type": "application/json", "content-length": len(body), **headers}
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        await self.write(f"HTTP/1.1 {status} Words\r\n{head}\r\n".encode() + body)

    def reset(self) -> None:
        """Cut the connection."""
        self.writer.transport.abort()


Behaviour = Callable[[Conversation], Awaitable[None]]


@dataclass
class Upstream:
    """A running service."""

    url: str
    behave: Behaviour
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: set[asyncio.Task[None]] = field(default_factory=set)

    async def become(self, behave: Behaviour) -> None:
        """End all connections, and behave otherwise from now on."""
        self.behave = behave
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        for task in tuple(self.open):
            task.cancel()
        await asyncio.gather(*self.open, return_exceptions=True)


@asynccontextmanager
async def running_upstream(
    behave: Behaviour, tls: ssl.SSLContext | None = None, *, port: int = 0
) -> AsyncIterator[Upstream]:
    """Run a service, on a free port unless one is named, and stop it at the end.

    A new `behave` counts for new connections.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream.connections += 1
        task = asyncio.current_task()
        assert task is not None
        upstream.open.add(task)
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, asyncio.CancelledError):
            await upstream.behave(Conversation(reader, writer, upstream.requests))
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        upstream.open.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream(f"http{'s' if tls else ''}://127.0.0.1:{port}/orders", behave)
    try:
        yield upstream
    finally:
        server.close()
        await upstream.close()


def answering(content: Any, status: int = 200, **headers: object) -> Behaviour:
    """Return the behaviour of a service that answers each request like this."""

    async def behave(client: Conversation) -> None:
        while True:
            await client.request()
            await client.answer(content, status, **headers)

    return behave


def writing(data: bytes) -> Behaviour:
    """Return the behaviour of a service that writes these bytes after each request, and waits."""

    async def behave(client: Conversation) -> None:
        while True:
            await client.request()
            await client.write(data)

    return behave


async def good(client: Conversation) -> None:
    """Answer each message with its own data, and with its type and user."""
    while True:
        message = (await client.request()).json
        await client.answer({"data": {"type": message["type"], "user": message["user"], "got": message["data"]}})


async def hanging(client: Conversation) -> None:
    """Read, and never answer."""
    await client.request()
    await asyncio.Event().wait()


async def deaf(client: Conversation) -> None:
    """Never even read."""
    await asyncio.Event().wait()


async def resetting(client: Conversation) -> None:
    """Cut the connection in place of an answer."""
    await client.request()
    client.reset()


async def closing(client: Conversation) -> None:
    """End the connection in place of an answer."""
    await client.request()


async def closing_after_each_answer(client: Conversation) -> None:
    """Answer once, and close without a word about it."""
    await client.answer({"data": {"got": (await client.request()).json["data"]}})


async def answering_before_reading(client: Conversation) -> None:
    """Answer as soon as the head is there, and close."""
    await client.head()
    await client.answer({"data": {"early": True}})


async def dripping(client: Conversation) -> None:
    """Write the body one byte at a time, for ever."""
    await client.request()
    await client.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    while True:
        await client.write(b" ")
        await asyncio.sleep(0.02)


async def endless(client: Conversation) -> None:
    """Write a body without an end, as fast as it goes."""
    await client.request()
    await client.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await client.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


async def flooding_headers(client: Conversation) -> None:
    """Write headers without an end."""
    await client.request()
    await client.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await client.write(b"x-more: %b\r\n" % (b"y" * 1000))


async def always_continuing(client: Conversation) -> None:
    """Write `100 Continue` without an end."""
    await client.request()
    while True:
        await client.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def twice(data: object, forged: object) -> Behaviour:
    """Return the behaviour of a service that answers its first request twice, the second time with something else."""

    async def behave(client: Conversation) -> None:
        first, second = (json.dumps({"data": each}).encode() for each in (data, forged))
        parts = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body) for body in (first, second)]
        await client.request()
        await client.write(b"".join(parts))
        while True:
            await client.request()
            await client.write(parts[0])

    return behave


def _length(length: int, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (length, body)


async def truncated(client: Conversation) -> None:
    """End in the middle of the body."""
    await client.request()
    await client.write(_length(100, b'{"data": {'))


BOMB = gzip.compress(b" " * 50_000_000)
LARGE = b'{"data": {"x": "' + b"x" * 10_000_000 + b'"}}'

LATE: dict[str, Behaviour] = {
    "hangs before the head": hanging,
    "never reads": deaf,
    "hangs after the head": writing(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"),
    "hangs in the head": writing(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "promises more than it sends": writing(_length(100, b'{"data": {}}')),
    "has a slow body": dripping,
}
"""Services that answer too late."""

WRONG: dict[str, Behaviour] = {
    "resets": resetting,
    "closes": closing,
    "has an endless body": endless,
    "has endless headers": flooding_headers,
    "continues for ever": always_continuing,
    "sends 10 MB": answering(LARGE),
    "sends a compressed bomb": answering(BOMB, content_encoding="gzip"),
    "is truncated": truncated,
    "promises less than it sends": writing(_length(5, b'{"data": {}}')),
    "has a length that is no number": answering({"data": {}}, content_length="many"),
    "has two lengths": writing(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 4\r\n\r\n{}{}"),
    "speaks no HTTP": writing(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    "switches protocols": writing(b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
    "answers 500": answering({"error": FORGED}, 500),
    "answers 404": answering({"error": FORGED}, 404),
    "answers 204": writing(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "redirects": answering({"data": {}}, 307, location="http://127.0.0.1:9/"),
    "is not JSON": answering(f"<html>{FORGED}</html>".encode()),
    "is empty": answering(b""),
    "is not UTF-8": answering(b'{"data": {"x": "\xff"}}'),
    "is NaN": answering(b'{"data": {"x": NaN}}'),
    "has a key twice": answering(b'{"data": {}, "data": {"x": 1}}'),
    "is nested too deep": answering(b'{"data": ' + b'{"x":' * 500 + b"1" + b"}" * 500 + b"}"),
    "is an array": answering([{"data": {}}]),
    "is a string": answering(FORGED),
    "is an empty object": answering({}),
    "has both data and an error": answering({"data": {}, "error": {"status": 60001, "name": "x", "message": "x"}}),
    "has other keys": answering({"data": {}, FORGED: 1}),
    "has data that is no object": answering({"data": FORGED}),
    "has null as data": answering({"data": None}),
    "has an error that is no object": answering({"error": FORGED}),
    "has an error without a message": answering({"error": {"status": 60001, "name": "sold_out"}}),
    "has an error of ours": answering({"error": {"status": 50000, "name": "internal_error", "message": FORGED}}),
    "has an error of a credential": answering({"error": {"status": 40102, "name": "token_revoked", "message": FORGED}}),
    "has an error that is OK": answering({"error": {"status": 20000, "name": "ok", "message": FORGED}}),
    "has an error with another name": answering({"error": {"status": 40400, "name": "lost", "message": FORGED}}),
    "has an own error with our name": answering({"error": {"status": 60001, "name": "not_found", "message": FORGED}}),
    "has an error with a bad name": answering({"error": {"status": 60001, "name": 'a"b', "message": FORGED}}),
    "has an error with a status as a text": answering({"error": {"status": "60001", "name": "x", "message": FORGED}}),
    "has an error with a long message": answering({"error": {"status": 60001, "name": "x", "message": "x" * 5000}}),
    "has effects that are no list": answering({"data": {}, "effects": {"disconnect": {}}}),
    "has an unknown effect": answering({"data": {}, "effects": [{"explode": {}}]}),
    "has an effect that is no object": answering({"data": {}, "effects": [FORGED]}),
    "has two effects in one": answering({"data": {}, "effects": [{"disconnect": {}, "leave": {"room": "order-1"}}]}),
    "has an effect that the route may not": answering({"data": {}, "effects": [{"disconnect": {}}]}),
}
"""Services whose answers are wrong, for a route without effects."""


SSE, JSONL = "text/event-stream", "application/x-ndjson"


def events(*chunks: Any, reply: Any = None) -> bytes:
    """Return chunks as events, and the answer at the end if there is one."""
    parts = [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks]
    return b"".join([*parts, b"event: reply\ndata: %b\n\n" % json.dumps(reply).encode() if reply else b""])


def lines(*chunks: Any, reply: Any = None) -> bytes:
    """Return chunks as lines of JSON, and the answer at the end if there is one."""
    documents = [*({"chunk": chunk} for chunk in chunks), *([reply] if reply else [])]
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def streaming(*steps: bytes | asyncio.Event, type: str = SSE, ends: bool = True, head: bytes = b"") -> Behaviour:
    """Return the behaviour of a service that writes each piece of a stream at once, and waits for each event.

    Without `ends`, it goes on for ever and writes nothing.
    """

    async def behave(client: Conversation) -> None:
        while True:
            await client.request()
            start = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n%b\r\n" % (
                type.encode(),
                head,
            )
            await client.write(start)
            for step in steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    await client.write(b"%x\r\n%b\r\n" % (len(step), step))
            if ends:
                await client.write(b"0\r\n\r\n")

    return behave


def repeating(piece: bytes, seconds: float = 0, type: str = SSE) -> Behaviour:
    """Return the behaviour of a service that repeats a piece for ever, after each pause."""

    async def behave(client: Conversation) -> None:
        await client.request()
        await client.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % type.encode())
        while True:
            await client.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(seconds)

    return behave


DONE = {"data": {"done": True}}
LONG_CHUNK = "x" * (256 * 1024)
CUT = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000\r\n\r\n" + events("one")


async def cut_off(client: Conversation) -> None:
    """End in the middle of a stream."""
    await client.request()
    await client.write(CUT)


async def reset_in_the_middle(client: Conversation) -> None:
    """Cut the connection in the middle of a stream."""
    await client.request()
    await client.write(CUT)
    await asyncio.sleep(0.05)
    client.reset()


WRONG_STREAMS: dict[str, Behaviour] = {
    "has no answer": streaming(events("one")),
    "has nothing": streaming(),
    "has no answer in its lines": streaming(lines("one"), type=JSONL),
    "has two answers": streaming(events("one", reply=DONE) + events(reply=DONE)),
    "goes on after its answer": streaming(events("one", reply=DONE) + events(FORGED)),
    "goes on in another piece": streaming(events("one", reply=DONE), events(FORGED)),
    "has a line after its answer": streaming(lines("one", reply=DONE), b"\n" + FORGED.encode(), type=JSONL),
    "sends null": streaming(events("one", None, reply=DONE)),
    "sends a line with null": streaming(lines("one", None, reply=DONE), type=JSONL),
    "sends NaN": streaming(events("one") + b"data: NaN\n\n" + events(reply=DONE)),
    "sends no UTF-8": streaming(events("one") + b'data: "\xff"\n\n' + events(reply=DONE)),
    "sends a text that is no JSON": streaming(events("one") + f"data: {FORGED}\n\n".encode() + events(reply=DONE)),
    "sends a chunk that is too long": streaming(events("one", LONG_CHUNK, reply=DONE)),
    "sends an endless chunk": repeating(b"data: " + b"x" * 65536 + b"\n"),
    "sends an endless line": repeating(b"x" * 65536, type=JSONL),
    "sends an endless comment": repeating(b": " + b"x" * 65536 + b"\n"),
    "sends an event of another name": streaming(events("one") + b"event: error\n" + events(FORGED)),
    "sends an answer that is a lie": streaming(events("one", reply={"data": FORGED})),
    "sends an answer with a lie as effects": streaming(events("one", reply={**DONE, "effects": [{"explode": {}}]})),
    "sends an answer with an error of ours": streaming(
        events("one", reply={"error": {"status": 40102, "name": "token_revoked", "message": FORGED}})
    ),
    "is cut off": cut_off,
    "is reset": reset_in_the_middle,
    "has a broken chunk": writing(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    ),
    "says events and sends lines": streaming(lines("one", reply=DONE)),
    "says lines and sends events": streaming(events("one", reply=DONE), type=JSONL),
    "says JSON and sends events": streaming(events("one", reply=DONE), type="application/json"),
    "says nothing and sends lines": streaming(lines("one", reply=DONE), type=""),
    "says two types": streaming(events("one", reply=DONE), head=b"content-type: application/json\r\n"),
    "says another charset": streaming(events("one", reply=DONE), type="text/event-stream; charset=latin-1"),
    "streams with status 500": writing(
        b"HTTP/1.1 500 X\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\ndata: 1\n\n"
    ),
    "streams compressed": streaming(b"x", head=b"content-encoding: gzip\r\n"),
}
"""Services with wrong streams, for a route without effects. A service that sends a chunk before sends `one`."""

LATE_STREAMS: dict[str, Behaviour] = {
    "is silent from the start": streaming(ends=False),
    "is silent after a chunk": streaming(events("one"), ends=False),
    "is silent within a chunk": streaming(events("one") + b"data: ", ends=False),
    "drips a chunk": repeating(b"x", 0.02, JSONL),
    "never ends after its answer": streaming(events("one", reply=DONE), ends=False),
}
"""Services with late streams."""
