"""Valid and invalid handshakes."""

import asyncio
import gc
import re

import pytest

from gateway.transport.uvicorn.http import GuardedHttpProtocol
from tests.support.client import WAIT_SECONDS, App
from tests.support.wire import frame, opened, rest

SECRET = "not-even-a-jwt-but-a-secret"
HANDSHAKE = (
    "GET /ws/chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

# What is sent after the head above, the status of the answer, and what it says.
WRONG = {
    "a quoted subprotocol": (
        f'Sec-WebSocket-Protocol: "gateway.v1", bearer.{SECRET}\r\n\r\n',
        400,
        "its header Sec-WebSocket-Protocol is missing or wrong",
    ),
    "a second key": (f"Sec-WebSocket-Key: {SECRET}\r\n\r\n", 400, "its header Sec-WebSocket-Key is missing or wrong"),
    "a body": ("Content-Length: 5\r\n\r\nhello", 400, "which has no body"),
    "a body in chunks": ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 400, "which has no body"),
    "300 headers": ("X: y\r\n" * 300 + "\r\n", 431, "more than 128 headers"),
    "a long line": (f"X: {'y' * 9000}\r\n\r\n", 431, "a line of over 8,192 bytes"),
}


@pytest.mark.parametrize(("more", "status", "words"), WRONG.values(), ids=WRONG)
async def test_a_wrong_handshake_is_told_what_is_wrong_without_a_word_of_it(
    app: App, more: str, status: int, words: str
) -> None:
    async with opened(app.gateway, (HANDSHAKE + more).encode()) as (reader, _):
        answer = (await rest(reader)).decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert words in answer
    assert SECRET not in answer


async def test_a_handshake_that_is_no_get_is_refused(app: App) -> None:
    async with opened(app.gateway, (HANDSHAKE.replace("GET", "POST") + "\r\n").encode()) as (reader, _):
        assert (await rest(reader)).startswith(b"HTTP/1.1 405 ")


UNUSUAL = {
    "the length of no body": b"Content-Length: 0\r\n",
    "a header that is not ASCII": "X-Name: Zo\u00eb\r\n".encode(),
    "many cookies": b"Cookie: " + b"x" * 8000 + b"\r\n",
    "a header twice": b"X: y\r\nX: z\r\n",
    "a hundred headers": b"X: y\r\n" * 100,
}


@pytest.mark.parametrize("more", UNUSUAL.values(), ids=UNUSUAL)
async def test_an_unusual_handshake_is_one(app: App, alice: str, more: bytes) -> None:
    head = HANDSHAKE.replace("/ws/chat", f"/ws/chat?token={await app.token(alice)}").encode()
    async with asyncio.timeout(WAIT_SECONDS), opened(app.gateway, head + more + b"\r\n") as (reader, _):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert b'"welcome"' in await reader.readuntil(b"}")


async def test_the_welcome_comes_with_the_answer_to_the_handshake(app: App, alice: str) -> None:
    head = HANDSHAKE.replace("/ws/chat", f"/ws/chat?token={await app.token(alice)}") + "\r\n"
    async with asyncio.timeout(WAIT_SECONDS), opened(app.gateway, head.encode()) as (reader, _):
        first = await reader.read(65536)
    assert first.startswith(b"HTTP/1.1 101 ")
    assert b'"welcome"' in first


async def test_the_answer_waits_for_nothing_that_is_not_ready(app: App) -> None:
    async with asyncio.timeout(WAIT_SECONDS), opened(app.gateway, (HANDSHAKE + "\r\n").encode()) as (reader, writer):
        assert (await reader.read(65536)).endswith(b"\r\n\r\n")
        writer.write(frame('{"type":"auth","data":{"token":"wrong"}}'))
        assert b"authentication_failed" in await reader.read(65536)


async def test_the_log_has_a_line_for_a_connection_with_its_path_and_without_its_token(
    app: App, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = await app.token(alice)
    caplog.set_level("INFO")
    async with app.connect_with(token) as client:
        await client.ask("ping")
    [line] = [each for each in caplog.messages if "[accepted]" in each]
    assert re.fullmatch(r'127\.0\.0\.1:\d+ - "WebSocket /ws/chat" \[accepted\]', line)
    assert token not in caplog.text


async def test_white_space_around_the_values_of_a_handshake_is_none_of_them(app: App, alice: str) -> None:
    host = f"{app.gateway.host}:{app.gateway.port}"
    head = HANDSHAKE.replace("/ws/chat", f"/ws/chat?token={await app.token(alice)}").replace("localhost", host)
    head = head.replace("13\r\n", "13 \t\r\n").replace("==\r\n", "== \r\n") + f"Origin:   http://{host} \r\n\r\n"
    async with asyncio.timeout(WAIT_SECONDS), opened(app.gateway, head.encode()) as (reader, _):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_of_a_handshake_nothing_waits_for_the_garbage_collector(app: App, alice: str) -> None:
    await app.token(alice)
    gc.collect()
    gc.disable()
    try:
        async with app.connect(alice) as client:
            await client.ask("ping")
            left = [each for each in gc.get_objects() if isinstance(each, GuardedHttpProtocol)]
            assert [each for each in left if (b"upgrade", b"websocket") in each.headers] == []
    finally:
        gc.enable()
