"""Clients that vanish, by a reset or a plain end, in every state of a request or connection: no other notices."""

import asyncio
import io
import json
import logging
import random
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.core import faults
from gateway.core.folding import LINES_A_MINUTE
from gateway.core.logs import FoldingHandler, TextFormatter, configure_logs
from gateway.transport.uvicorn.http import GuardedHttpProtocol
from gateway.transport.uvicorn.lost_transport import LOST
from tests.conftest import OwnGateway
from tests.support.client import PASSWORD, App
from tests.support.waiting import until
from tests.support.wire import BINARY, CLOSE, PING, frame, handshake, opened, rest

TIMES = 6
"""How often each client vanishes in each way."""

HEAD = b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
FORM = f"username=alice&password={PASSWORD.replace(' ', '+')}".encode()
LOG_IN = HEAD + b"Content-Length: %d\r\n\r\n" % len(FORM) + FORM
OTHER_UPGRADE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
TALK = b"".join(
    frame(json.dumps({"type": type, "id": 1, "data": {"room": "lobby"} | more}))
    for type, more in (("room.join", {}), ("chat.send", {"text": "hi"}), ("room.leave", {}))
)


def requests(token: str) -> dict[str, list[bytes]]:
    """What clients have sent before they vanish: bytes, and bytes after the first answer."""
    me = f"GET /users/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    return {
        "nothing": [],
        "half a head": [LOG_IN[:30]],
        "a request": [me],
        "a log-in": [LOG_IN],
        "half a form": [LOG_IN[:-10]],
        "half a chunk": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\nusername"],
        "half of some JSON": [b"POST /users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"],
        "a head that waits to be told to go on": [HEAD + b"Expect: 100-continue\r\nContent-Length: 30\r\n\r\n"],
        "several requests at once": [LOG_IN * 3 + me],
        "half a handshake": [handshake(token)[:50]],
        "a handshake": [handshake(token)],
        "a bad handshake": [handshake("bad")],
        "a handshake without a credential": [handshake(token).replace(b"?token=" + token.encode(), b"")],
        "a handshake in the wrong place": [handshake(token).replace(b"/ws/chat", b"/ws/nowhere")],
        "a handshake and messages": [handshake(token) + TALK],
        "messages": [handshake(token), TALK],
        "half a message": [handshake(token), TALK[:20]],
        "pings and a close": [handshake(token), TALK + frame(b"", PING) * 3 + frame(b"\x03\xe8", CLOSE)],
        "nonsense": [handshake(token), frame(b"\xff\xff") + frame(b"\xff", BINARY) + b"\xff\xff\xff\xff"],
        "a goodbye": [handshake(token), frame('{"type":"bye"}')],
    }


def vanish(port: int, parts: list[bytes], *, reset: bool, after: float) -> None:
    """Connect, send, and vanish."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for number, part in enumerate(parts):
            if number:
                client.recv(16)
            client.sendall(part)
        time.sleep(after)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_client_that_vanishes_in_any_state_leaves_no_error_in_the_log(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture, loop: str
) -> None:
    caplog.set_level(logging.INFO)
    gateway = own_gateway(options={"loop": loop}, max_connections_per_user=0)
    async with App(gateway) as app:
        chance = random.Random(12)
        for what, parts in requests(await app.token("alice")).items():
            for number in range(2 * TIMES):
                # At once, or in the middle of what the gateway does about it.
                after = chance.choice([0, chance.uniform(0, 0.004)])
                await asyncio.to_thread(vanish, gateway.port, parts, reset=bool(number % 2), after=after)
            bad = [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]
            assert not bad, (what, bad[0].getMessage(), bad[0].exc_text)
        await until(lambda: not gateway.state.connections.count)
        async with app.in_room("alice", "lobby") as client:
            await client.say("lobby", "still here")
    bad = [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]
    assert not bad, bad[0].getMessage()


@pytest.fixture
def log_of_the_command(caplog: pytest.LogCaptureFixture) -> Iterator[io.StringIO]:
    """What `gateway serve` would write to standard error."""
    caplog.set_level(logging.INFO)
    written, handler = io.StringIO(), FoldingHandler()
    handler.setStream(written)
    handler.setFormatter(TextFormatter())
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)
    handler.close()


async def test_one_client_cannot_flood_the_log_whatever_it_does_again_and_again(
    own_gateway: OwnGateway, log_of_the_command: io.StringIO
) -> None:
    gateway = own_gateway(max_connections_per_user=0)
    async with App(gateway) as app:
        token = await app.token("alice")
        sent = requests(token) | {"no HTTP": [b"\x16\x03\x01\r\n\r\n"], "another upgrade": [OTHER_UPGRADE]}
        for what in ("a bad handshake", "a handshake in the wrong place", "messages", "no HTTP", "another upgrade"):
            for number in range(LINES_A_MINUTE + 10):
                await asyncio.to_thread(vanish, gateway.port, sent[what], reset=bool(number % 2), after=0)
        await until(lambda: not gateway.state.connections.count)
    lines = log_of_the_command.getvalue().splitlines()
    # Where a client is gone before it is looked at, its address is not known.
    assert len(lines) <= 8 * LINES_A_MINUTE, lines[::20]
    ends = [line for line in lines if "a connection ended" in line]
    assert LINES_A_MINUTE / 2 < len(ends) <= 2 * LINES_A_MINUTE
    assert not [line for line in lines if "ERROR" in line or "Traceback" in line or token[-20:] in line]


def test_the_command_folds_what_it_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[dict[str, Any]] = []
    monkeypatch.setattr("logging.config.dictConfig", configured.append)
    configure_logs("info", "text")
    assert configured[0]["handlers"]["stderr"]["()"] is FoldingHandler


def test_a_transport_that_is_lost_takes_everything_and_does_nothing() -> None:
    LOST.write(b"hi")
    LOST.pause_reading()
    LOST.resume_reading()
    LOST.close()
    LOST.abort()
    assert (LOST.is_closing(), LOST.get_write_buffer_size()) == (True, 0)


@pytest.mark.usefixtures("fresh_faults")
async def test_one_slow_connection_that_cannot_be_given_up_keeps_no_other(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up_or_fault(protocol: GuardedHttpProtocol, refusal: bytes) -> None:
        if not faults.counters:
            raise RuntimeError("cannot be given up")
        real(protocol, refusal)

    real = GuardedHttpProtocol.reject
    monkeypatch.setattr(GuardedHttpProtocol, "reject", give_up_or_fault)
    gateway = own_gateway(handshake_seconds=0.3)
    async with opened(gateway, b"G"), opened(gateway, b"G") as (second, _):
        assert b"408" in await rest(second)
        async with opened(gateway, b"G") as (third, _):
            assert b"408" in await rest(third)
    assert faults.counters == {"handshakes": 1}
