"""Handshakes that are none."""

import asyncio

import pytest

from tests.client import WAIT_SECONDS, App

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


@pytest.mark.parametrize(("rest", "status", "words"), WRONG.values(), ids=WRONG)
async def test_a_wrong_handshake_is_told_what_is_wrong_without_a_word_of_it(
    app: App, rest: str, status: int, words: str
) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        reader, writer = await asyncio.open_connection(app.gateway.host, app.gateway.port)
        writer.write((HANDSHAKE + rest).encode())
        answer = (await reader.read()).decode()
        writer.close()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert words in answer
    assert SECRET not in answer
