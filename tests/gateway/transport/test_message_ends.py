"""The end of a request: the gateway never reads as a request what a proxy takes for a body, or it closes.

Each case is the bytes of a client on one connection, and the requests that RFC 9112 sees in them. A server may always
close instead. It must never see another request, nor answer more often than there were requests.
"""

import asyncio
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.cli.serve import listen
from gateway.http.framing import Framing
from gateway.transport.uvicorn.http import GuardedHttpProtocol, HttpConnectionLimits
from gateway.transport.uvicorn.websocket import GatewayProtocol
from tests.support.client import WAIT_SECONDS

pytestmark = pytest.mark.server

QUIET_SECONDS = 0.3

Asked = tuple[str, str, bytes]


class Recorder:
    """An application that records its requests. It reads a request's body, unless the path says not to."""

    def __init__(self) -> None:
        self.asked: defaultdict[int, list[Asked]] = defaultdict(list)
        """By the client's port."""
        self.headers: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = self.asked[scope["client"][1]]
        if scope["type"] == "websocket":
            asked.append(("WEBSOCKET", scope["path"], b""))
            await send({"type": "websocket.close"})
            return
        body = b""
        while "early" not in scope["path"]:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message.get("more_body", False):
                break
        asked.append((scope["method"], scope["path"], body))
        self.headers += [name for name, _ in scope["headers"]]
        headers = [(b"content-length", b"2"), (b"x-app", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


def cutting(base: Any, size: int) -> Any:
    """A protocol that receives its bytes in pieces of a given size, as a relay may cut them."""

    class Cutting(base):  # type: ignore[misc]
        def data_received(self, data: bytes) -> None:
            for start in range(0, len(data), size):
                if self.transport.is_closing():
                    return
                now = self.transport.get_protocol()
                take = super().data_received if now is self else now.data_received
                take(data[start : start + size])

    return Cutting


@dataclass(frozen=True)
class Server:
    mode: str
    port: int
    recorder: Recorder

    async def ask(self, *parts: bytes, answers: int = 1) -> tuple[list[Asked], bytes]:
        """Send parts one after the other. Return what the application saw, and the answers.

        So many answers are waited for, and then a moment for what must not come.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answered = b""
        with suppress(OSError, TimeoutError):  # closed, or all is said
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.1 if len(parts) > 1 else 0)
            while data := await asyncio.wait_for(reader.read(65536), self._patience(answered, answers)):
                answered += data
        asked = self.recorder.asked[writer.get_extra_info("sockname")[1]]
        writer.close()
        return asked, answered

    def _patience(self, answered: bytes, answers: int) -> float:
        if len(statuses(answered)) >= answers:
            return QUIET_SECONDS
        # The other servers may wait for ever, which is not what is asked here.
        return WAIT_SECONDS if self.mode == "ours" else 3 * QUIET_SECONDS

    async def complain(self, name: str, expected: list[Asked], *parts: bytes) -> str | None:
        """Send parts, and return what is wrong with the application's requests or with the answers."""
        asked, answers = await self.ask(*parts, answers=len(expected))
        told = f"{name}: expected {expected}, got {asked}, answered {answers!r}"
        if self.mode == "httptools":  # loses the body of a request that offers an upgrade, and its connection with it
            asked, expected = ([(*each[:2], b"") for each in which] for which in (asked, expected))
        elif self.mode == "ours" and name in OFFERED and asked != expected:
            return told
        if asked != expected[: len(asked)] or answers.count(b"x-app: 1") > len(asked):
            return told
        # One for what is no request any more.
        return told if len(statuses(answers)) > len(expected) + 1 else None


def statuses(answers: bytes) -> list[bytes]:
    return [status for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers) if status != b"100"]


@contextmanager
def running(mode: str, size: int) -> Iterator[Server]:
    recorder = Recorder()
    handshakes = HttpConnectionLimits(WAIT_SECONDS, 0)
    ws: Any = GatewayProtocol
    if mode == "ours":
        http: Any = partial(cutting(GuardedHttpProtocol, size), handshakes=handshakes)
    else:
        http, ws = cutting({"httptools": HttpToolsProtocol, "h11": H11Protocol}[mode], size), "websockets-sansio"
    config = uvicorn.Config(
        Framing(recorder),
        interface="asgi3",
        http=http,
        ws=ws,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign] # they belong to pytest
    sock = listen("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Server(mode, sock.getsockname()[1], recorder)
    finally:
        if mode != "ours":
            _wait_for_the_last(server)
        server.should_exit = True
        thread.join(WAIT_SECONDS)


def _wait_for_the_last(server: uvicorn.Server) -> None:
    """Wait for the last connection: at its end, uvicorn 0.54 fails at a handshake that it has just refused."""
    end = time.monotonic() + WAIT_SECONDS
    while server.server_state.connections and time.monotonic() < end:
        time.sleep(0.01)


@contextmanager
def _no_signals() -> Iterator[None]:
    yield


HOST = b"Host: a\r\n"
INNER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
NEXT_ASKED = ("GET", "/next", b"")


def post(headers: bytes, body: bytes = b"", *, line: bytes = b"POST /a HTTP/1.1") -> bytes:
    return line + b"\r\n" + HOST + headers + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


LENGTH = b"Content-Length: %d\r\n" % len(INNER)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
POSTED: list[Asked] = [("POST", "/a", INNER)]

# Offers that are ignored; each is sent with a body that is a request, in both framings.
OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    "unknown": b"Connection: upgrade\r\nUpgrade: foo\r\n",
    "list": b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
    "twice": b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    "twice the same": b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
    "spelt oddly": b"connection: uPgRaDe\r\nuPGRADE: H2C\r\n",
    "two connections": b"Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: h2c\r\n",
    "version": b"Connection: Upgrade\r\nUpgrade: websocket/13\r\n",
    "empty": b"Connection: Upgrade\r\nUpgrade:\r\n",
}

CASES: dict[str, tuple[bytes, list[Asked]]] = {}
for name, offer in OFFERS.items():
    for method in ("POST", "GET", "DELETE"):
        line = method.encode() + b" /a HTTP/1.1"
        asked: list[Asked] = [(method, "/a", INNER), NEXT_ASKED]
        CASES[f"{method} {name}"] = (post(offer + LENGTH, INNER, line=line) + NEXT, asked)
        CASES[f"{method} {name} in chunks"] = (post(offer + CHUNKED, chunked(INNER), line=line) + NEXT, asked)
    CASES[f"{name} without a body"] = (post(offer, line=b"GET /a HTTP/1.1") + NEXT, [("GET", "/a", b""), NEXT_ASKED])
    CASES[f"{name} behind a request"] = (NEXT + post(offer + LENGTH, INNER), [NEXT_ASKED, *POSTED])
    CASES[f"{name} in HTTP/1.0"] = (post(offer + LENGTH, INNER, line=b"POST /a HTTP/1.0") + NEXT, POSTED)
    CASES[f"{name} answered early"] = (
        post(offer + LENGTH, INNER, line=b"POST /early HTTP/1.1") + NEXT,
        [("POST", "/early", b""), NEXT_ASKED],
    )
    CASES[f"{name} for the last request"] = (post(b"Connection: close\r\n" + offer + LENGTH, INNER) + NEXT, POSTED)
OFFERED = {name for name in CASES if "empty" not in name}
SOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY
CASES |= {
    "a handshake by POST": (post(SOCKET + LENGTH, INNER) + NEXT, []),
    "a handshake by POST in chunks": (post(SOCKET + CHUNKED, chunked(INNER)) + NEXT, []),
    "a handshake with a body": (post(SOCKET + LENGTH, INNER, line=b"GET /a HTTP/1.1") + NEXT, []),
    "a handshake with chunks": (post(SOCKET + CHUNKED, chunked(INNER), line=b"GET /a HTTP/1.1") + NEXT, []),
    "a handshake and more": (post(SOCKET, line=b"GET /a HTTP/1.1") + NEXT, [("WEBSOCKET", "/a", b"")]),
    "a handshake behind a POST": (
        post(LENGTH, INNER) + post(SOCKET, line=b"GET /b HTTP/1.1"),
        [*POSTED, ("WEBSOCKET", "/b", b"")],
    ),
    "CONNECT": (post(LENGTH, INNER, line=b"CONNECT a:80 HTTP/1.1") + NEXT, []),
    "CONNECT of a path": (post(LENGTH, INNER, line=b"CONNECT /a HTTP/1.1") + NEXT, []),
}

for name, headers in {
    "two lengths": LENGTH + b"Content-Length: 0\r\n",
    "a plus": b"Content-Length: +35\r\n",
    "a minus": b"Content-Length: -1\r\n",
    "an underscore": b"Content-Length: 3_5\r\n",
    "a hexadecimal length": b"Content-Length: 0x23\r\n",
    "a space within": b"Content-Length: 3 5\r\n",
    "no length": b"Content-Length:\r\n",
    "a fraction": b"Content-Length: 35.0\r\n",
    "a power": b"Content-Length: 3e1\r\n",
    "a length beyond 64 bits": b"Content-Length: 18446744073709551651\r\n",
    "a length of 30 digits": b"Content-Length: " + b"9" * 30 + b"\r\n",
    "other digits": "Content-Length: \u0663\u0665\r\n".encode(),
    "a non-breaking space": b"Content-Length: \xa035\r\n",
    "a vertical tab": b"Content-Length: \x0b35\r\n",
    "a NUL in a length": b"Content-Length: 35\0\r\n",
    "a space before the colon": b"Content-Length : 35\r\n",
    "a bare CR": b"X: y\rContent-Length: 35\r\n",
    "a NUL in a value": b"X: y\0" + LENGTH,
    "a NUL in a name": b"X\0: y\r\n" + LENGTH,
    "a line without a colon": b"X\r\n" + LENGTH,
    "an empty name": b": y\r\n" + LENGTH,
    "length and chunks": LENGTH + CHUNKED,
    "chunks and length": CHUNKED + LENGTH,
}.items():
    CASES[name] = (post(headers, INNER) + NEXT, [])

for name, headers in {
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "two codings": CHUNKED * 2,
    "identity": b"Transfer-Encoding: identity\r\n",
    "identity after chunked": CHUNKED + b"Transfer-Encoding: identity\r\n",
    "chunked before gzip": b"Transfer-Encoding: chunked, gzip\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n",
    "chunkedx": b"Transfer-Encoding: chunkedx\r\n",
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "chunked in quotes": b'Transfer-Encoding: "chunked"\r\n',
    "a vertical tab before chunked": b"Transfer-Encoding: \x0bchunked\r\n",
    "a space before the coding's colon": b"Transfer-Encoding : chunked\r\n",
    "an empty coding": b"Transfer-Encoding:\r\n",
    "a NUL in a coding": b"Transfer-Encoding: chunked\0\r\n",
    "a comma after chunked": b"Transfer-Encoding: chunked,\r\n",
}.items():
    CASES[name] = (post(headers, chunked(INNER)) + NEXT, [])

# What a server may read in one way or refuse (RFC 9112 §2.2, §5.2, §6.3).
for name, headers in {
    "a length twice": LENGTH * 2,
    "a list of lengths": b"Content-Length: 35, 35\r\n",
    "a length folded": b"Content-Length:\r\n 35\r\n",
    "a bare LF": b"X: y\nContent-Length: 35\r\n",
}.items():
    CASES[name] = (post(headers, INNER) + NEXT, [*POSTED, NEXT_ASKED])
CASES |= {
    "a length folded into another header": (
        post(b"X: y\r\n Content-Length: 35\r\n", INNER) + NEXT,
        [("POST", "/a", b""), ("GET", "/smuggled", b""), NEXT_ASKED],
    ),
    "a coding folded": (post(b"Transfer-Encoding:\r\n chunked\r\n", chunked(INNER)) + NEXT, [*POSTED, NEXT_ASKED]),
    "a method in lower case": (
        post(LENGTH, INNER, line=b"post /a HTTP/1.1") + NEXT,
        [("post", "/a", INNER), NEXT_ASKED],
    ),
    "a bare LF after the line": (
        b"POST /a HTTP/1.1\n" + HOST + LENGTH + b"\r\n" + INNER + NEXT,
        [*POSTED, NEXT_ASKED],
    ),
    "HTTP/2.0 as text": (post(b"", line=b"GET /a HTTP/2.0") + NEXT, [("GET", "/a", b""), NEXT_ASKED]),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT, [("PRI", "*", b"")]),
}

HELLO: list[Asked] = [("POST", "/a", b"hello"), NEXT_ASKED]
for name, body in {
    "an extension": b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "a quoted extension": b'5;a="b;c"\r\nhello\r\n0\r\n\r\n',
    "zeros before a size": b"0000005\r\nhello\r\n0\r\n\r\n",
    "an extension with a bare CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "a trailer": b"5\r\nhello\r\n0\r\nX-Trailer: yes\r\n\r\n",
}.items():
    CASES[name] = (post(CHUNKED, body) + NEXT, HELLO)
for name, body in {
    "an extension with a bare LF": b"5;a\nhello\r\n0\r\n\r\n",
    "a size with a bare LF": b"5\nhello\r\n0\r\n\r\n",
    "a chunk that is too long": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "no CR after a chunk": b"5\r\nhello\n0\r\n\r\n",
    "nothing after a chunk": b"5\r\nhello0\r\n\r\n",
    "a size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a size with a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "a size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a space before a size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a size that never comes": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no line after the last chunk": b"5\r\nhello\r\n0\r\n",
}.items():
    CASES[name] = (post(CHUNKED, body) + NEXT, [])

CASES |= {
    "chunks of HTTP/1.0": (post(CHUNKED, chunked(INNER), line=b"POST /a HTTP/1.0") + NEXT, POSTED),
    "HTTP/0.9": (b"GET /a\r\n" + NEXT, []),
    "HTTP/1.2": (post(LENGTH, INNER, line=b"POST /a HTTP/1.2") + NEXT, [("POST", "/a", INNER), NEXT_ASKED]),
    "a space in the target": (post(LENGTH, INNER, line=b"POST /a b HTTP/1.1") + NEXT, []),
    "a tab for a space": (post(LENGTH, INNER, line=b"POST\t/a HTTP/1.1") + NEXT, []),
    "empty lines before a request": (b"\r\n\r\n" + NEXT, [NEXT_ASKED]),
    "a GET with a body": (post(LENGTH, INNER, line=b"GET /a HTTP/1.1") + NEXT, [("GET", "/a", INNER), NEXT_ASKED]),
    "a HEAD with a body": (post(LENGTH, INNER, line=b"HEAD /a HTTP/1.1") + NEXT, [("HEAD", "/a", INNER), NEXT_ASKED]),
    "a DELETE with chunks": (
        post(CHUNKED, chunked(INNER), line=b"DELETE /a HTTP/1.1") + NEXT,
        [("DELETE", "/a", INNER), NEXT_ASKED],
    ),
    "the last request and more": (post(b"Connection: close\r\n" + LENGTH, INNER) + NEXT, POSTED),
    "a request of HTTP/1.0 and more": (
        post(b"Connection: keep-alive\r\n" + LENGTH, INNER, line=b"POST /a HTTP/1.0") + NEXT,
        [*POSTED, NEXT_ASKED],
    ),
    "a body that is not read": (
        post(LENGTH, INNER, line=b"POST /early HTTP/1.1") + NEXT,
        [("POST", "/early", b""), NEXT_ASKED],
    ),
    "an expectation": (post(b"Expect: 100-continue\r\n" + LENGTH, INNER) + NEXT, [*POSTED, NEXT_ASKED]),
    "an expectation that is answered early": (
        post(b"Expect: 100-continue\r\n" + LENGTH, INNER, line=b"POST /early HTTP/1.1") + NEXT,
        [("POST", "/early", b"")],
    ),
    "no Host": (b"POST /a HTTP/1.1\r\n" + LENGTH + b"\r\n" + INNER + NEXT, []),
    "two Hosts": (post(HOST + LENGTH, INNER) + NEXT, []),
    "no Host in a handshake": (b"GET /a HTTP/1.1\r\n" + SOCKET + b"\r\n" + NEXT, []),
    "two Hosts in a handshake": (post(HOST + SOCKET, line=b"GET /a HTTP/1.1") + NEXT, []),
}


@pytest.mark.parametrize("size", [1, 100_000], ids=["by byte", "whole"])
@pytest.mark.parametrize("mode", ["ours", "httptools", "h11"])
async def test_a_body_is_never_a_request(mode: str, size: int, caplog: pytest.LogCaptureFixture) -> None:
    with running(mode, size) as server:
        report(await asyncio.gather(*(server.complain(name, asked, data) for name, (data, asked) in CASES.items())))
    if mode == "ours":
        assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}], caplog.text


@pytest.mark.parametrize("mode", ["ours", "httptools", "h11"])
async def test_nor_is_a_body_that_comes_a_moment_after_its_head(mode: str) -> None:
    late = [(name, asked, *halves(data)) for name, (data, asked) in CASES.items() if INNER in data]
    assert len(late) > 100
    with running(mode, 100_000) as server:
        report(await asyncio.gather(*(server.complain(*each) for each in late)))


def halves(data: bytes) -> tuple[bytes, bytes]:
    at = data.index(INNER)
    return data[:at], data[at:]


async def test_a_websocket_that_is_offered_in_http_1_0_is_not_opened() -> None:
    with running("ours", 100_000) as server:
        asked, answers = await server.ask(post(SOCKET, line=b"GET /a HTTP/1.0"))
    assert asked == [("GET", "/a", b"")], answers
    assert answers.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("mode", ["ours", "h11"])
async def test_a_trailer_adds_nothing_to_the_headers(mode: str) -> None:
    trailer = b"5\r\nhello\r\n0\r\nX-Forwarded-For: 203.0.113.7\r\nAuthorization: Bearer x\r\n\r\n"
    with running(mode, 100_000) as server:
        asked, _ = await server.ask(post(CHUNKED, trailer) + NEXT, answers=2)
    assert asked == HELLO
    assert server.recorder.headers == [b"host", b"transfer-encoding", b"host"]


def report(wrong: list[str | None]) -> None:
    if any(wrong):
        pytest.fail("\n".join(filter(None, wrong)), pytrace=False)
