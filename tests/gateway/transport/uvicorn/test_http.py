"""Requests and handshakes that never become complete: each has a deadline, and then its socket is free."""

import asyncio
import os
import re
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.cli.serve import listen, server_config
from gateway.testing.server import QuietServer, settings_for_tests
from gateway.transport.uvicorn.http import MAX_HEAD_BYTES, GuardedHttpProtocol, HttpConnectionLimits, supported
from tests.conftest import OwnGateway
from tests.support.client import WAIT_SECONDS, App
from tests.support.waiting import until
from tests.support.wire import handshake, opened, rest, wire

SECONDS = 0.4

HEAD = b"POST /token HTTP/1.1\r\nHost: localhost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nusername=alice"
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

UNFINISHED = {
    "nothing": (b"", b""),
    "one letter": (b"G", b"408"),
    "half a head": (HEAD, b"408"),
    "half a body": (HEAD + FORM, b"408"),
    "half a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n100\r\nuser", b"408"),
    "half a handshake": (handshake("token")[:-2], b"408"),
    "a request and half another": (WHOLE + HEAD, b"408"),
}


@pytest.fixture(scope="module")
def hasty_options() -> dict[str, Any]:
    return {"handshake_seconds": SECONDS, "max_connections_per_address": 50}


async def test_whatever_does_not_come_whole_in_time_is_answered_and_closed(
    own_gateway: OwnGateway, hasty_options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gateway = own_gateway(**hasty_options)

    async def stall(data: bytes) -> tuple[bytes, float]:
        began = time.monotonic()
        async with opened(gateway, data) as (reader, _):
            return await rest(reader), time.monotonic() - began

    async def trickle() -> bytes:
        """Slowloris: a header every now and then, for ever."""
        async with opened(gateway, HEAD) as (reader, writer):
            answer = asyncio.create_task(rest(reader))
            while not answer.done():
                writer.write(b"X-More: and more\r\n")
                await asyncio.sleep(0.02)
            return await answer

    async with App(gateway) as app, app.connect("alice") as client:
        stalled, trickled = await asyncio.gather(
            asyncio.gather(*(stall(data) for data, _ in UNFINISHED.values())), trickle()
        )
        for name, (answer, seconds), (_, expected) in zip(UNFINISHED, stalled, UNFINISHED.values(), strict=True):
            assert seconds >= SECONDS, name
            assert (b"HTTP/1.1 408 " in answer) == bool(expected), (name, answer)
            assert (answer == b"") == (name == "nothing"), (name, answer)
        assert trickled.startswith(b"HTTP/1.1 408 ") or not trickled
        # A complete request is left alone, however long ago it came.
        await client.expect_nothing()
        await app.token("bob")
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}], caplog.text


@pytest.mark.parametrize(
    ("rest_of_head", "body", "status"),
    [
        (b"Content-Length: 100\r\n\r\n", b"half", 404),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhel", 404),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"no size\r\n", 404),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * MAX_HEAD_BYTES, 404),
        (b"Content-Length: 100000\r\n\r\n", b"half", 413),
    ],
    ids=["half a body", "half a chunk", "no chunk", "a chunk with a long extension", "a body that is too long"],
)
async def test_a_request_that_was_answered_before_its_body_gets_no_second_answer(
    own_gateway: OwnGateway, hasty_options: dict[str, Any], rest_of_head: bytes, body: bytes, status: int
) -> None:
    gateway = own_gateway(**hasty_options)
    path = b"/nowhere" if status == 404 else b"/token"
    async with opened(gateway, HEAD.replace(b"/token", path) + rest_of_head) as (reader, writer):
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_SECONDS)
        writer.write(body)
        answer += await rest(reader)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"%d" % status]


async def test_the_time_begins_anew_with_each_request_of_a_connection(
    own_gateway: OwnGateway, hasty_options: dict[str, Any]
) -> None:
    async with opened(own_gateway(**hasty_options)) as (reader, writer):
        for _ in range(4):
            await asyncio.sleep(SECONDS / 2)
            writer.write(WHOLE)
            async with asyncio.timeout(WAIT_SECONDS):
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                await reader.readuntil(b"}")


async def test_a_thousand_connections_that_never_log_in_hold_no_more_than_an_address_may(
    own_gateway: OwnGateway, hasty_options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gateway = own_gateway(**hasty_options)
    async with App(gateway) as app, app.connect("alice") as client:
        await app.http.aclose()
        await asyncio.sleep(0)
        before = _open_files()
        caplog.clear()
        with caplog.at_level("INFO"):
            for _ in range(4):
                silent = [await asyncio.open_connection(gateway.host, gateway.port) for _ in range(250)]
                answers = asyncio.gather(*(rest(reader) for reader, _ in silent))
                await client.ask("ping")
                await answers
                for _, writer in silent:
                    writer.close()
        await until(lambda: _open_files() <= before + 8)  # the store may have opened its other connections
        assert len(caplog.records) <= 20
        await client.expect_nothing()


async def test_those_that_are_connected_do_not_count_among_those_that_have_not_logged_in(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(max_connections_per_address=3)
    async with App(gateway) as app:
        token = await app.token("alice")
        await app.http.aclose()
        async with app.socket(f"?token={token}") as one, app.socket(f"?token={token}") as two:
            for client in (one, two):
                await client.expect("welcome")
            async with opened(gateway) as (silent, _), opened(gateway), opened(gateway):
                async with opened(gateway) as (reader, _):
                    assert await rest(reader) == b""
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await silent.read()
            await one.expect_nothing()


@pytest.mark.parametrize("line", [b"X-Long: " + b"x" * 200_000, b"X-More: more\r\n" * 20_000], ids=["long", "many"])
async def test_a_head_without_end_is_refused_before_its_time(app: App, line: bytes) -> None:
    async with opened(app.gateway, HEAD) as (reader, writer):
        writer.write(line[: MAX_HEAD_BYTES - 100])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(line[MAX_HEAD_BYTES - 100 : MAX_HEAD_BYTES + 1])
        assert (await rest(reader)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_of_many_cookies_is_fine(app: App) -> None:
    request = WHOLE[:-2] + b"Cookie: " + b"x" * (MAX_HEAD_BYTES - 1000) + b"\r\nConnection: close\r\n\r\n"
    async with opened(app.gateway, request) as (reader, _):
        assert (await rest(reader)).startswith(b"HTTP/1.1 200 ")


async def test_a_few_requests_may_come_before_the_first_is_answered(app: App) -> None:
    async with opened(app.gateway, WHOLE * 10) as (reader, _):
        async with asyncio.timeout(WAIT_SECONDS):
            for _ in range(10):
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                await reader.readuntil(b"}")


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "reads nothing"])
async def test_more_requests_than_that_end_their_connection_and_hold_up_no_other(
    app: App, alice: str, caplog: pytest.LogCaptureFixture, reads: bool
) -> None:
    async with app.connect(alice) as client, opened(app.gateway) as (reader, writer):
        if not reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(WHOLE * 50_000)
        await client.ask("ping")
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await rest(reader)).count(b" 200 ") < 10_000
    assert not [record for record in caplog.records if record.levelname == "ERROR"], caplog.text


async def test_a_handshake_behind_a_request_that_is_not_answered_is_refused(app: App, alice: str) -> None:
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n"
    async with opened(app.gateway, HEAD + form + handshake(await app.token(alice))) as (reader, _):
        assert b"101" not in await rest(reader)


async def test_handshakes_from_one_ipv6_network_count_together(hasty_options: dict[str, Any]) -> None:
    handshakes = HttpConnectionLimits(SECONDS, max_per_address=1)

    def protocol(address: str) -> GuardedHttpProtocol:
        config = uvicorn.Config("gateway.asgi:app", log_config=None)
        config.load_app = lambda: None  # type: ignore[method-assign]
        made = GuardedHttpProtocol(config, ServerState(), {}, handshakes=handshakes)
        made.client = (address, 1)
        return made

    assert handshakes.admit(protocol("2001:db8::1"))
    assert not handshakes.admit(protocol("2001:db8::2"))
    assert handshakes.admit(protocol("2001:db8:0:1::1"))


async def test_an_upgrade_leaves_nothing_behind_to_be_swept(
    own_gateway: OwnGateway, hasty_options: dict[str, Any]
) -> None:
    async with App(own_gateway(**hasty_options)) as app, wire(app, "alice") as line:
        await asyncio.sleep(SECONDS * 2)
        line.writer.write(b"\x81\x80\0\0\0\0")
        line.writer.write(b"\x89\x80\0\0\0\0")
        assert await line.read() == (10, b"")


def test_a_library_that_has_moved_is_not_used_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    assert supported()
    monkeypatch.delattr("uvicorn.protocols.http.httptools_impl.HttpToolsProtocol.on_message_begin")
    assert not supported()
    assert server_config(settings_for_tests(tmp_path), "gateway.asgi:app").http == "h11"
    assert "GATEWAY_HANDSHAKE_SECONDS has no effect" in caplog.text


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_connection_that_was_answered_is_kept_for_the_next_request_longer_than_a_request_may_take(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(handshake_seconds=0.8, keep_alive_seconds=3)
    early = HEAD + b"Content-Type: text/plain\r\nContent-Length: 100000\r\n\r\n"  # answered before its body has come
    async with opened(gateway) as (answered, one), opened(gateway) as (refused, two), opened(gateway) as (silent, _):
        began = time.monotonic()
        one.write(WHOLE)
        two.write(early)
        async with asyncio.timeout(WAIT_SECONDS):
            assert b" 200 " in await answered.readuntil(b"\r\n\r\n")
            assert b" 413 " in await refused.readuntil(b"\r\n\r\n")
            two.write(b"x" * 100_000)
            assert await silent.read() == b""
            await asyncio.sleep(0.9)
            for reader, writer in ((answered, one), (refused, two)):
                writer.write(WHOLE)
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            two.write(HEAD)  # the next has its own time, from its first byte
            assert b" 408 " in await refused.readuntil(b"\r\n\r\n")
            await answered.read()
        assert time.monotonic() - began >= 3


def test_a_proxy_closes_its_idle_connections_first(tmp_path: Any) -> None:
    assert server_config(settings_for_tests(tmp_path), "gateway.asgi:app").timeout_keep_alive == 150


async def test_empty_lines_keep_no_connection_open(own_gateway: OwnGateway, hasty_options: dict[str, Any]) -> None:
    async with opened(own_gateway(**hasty_options), WHOLE) as (reader, writer):
        async with asyncio.timeout(WAIT_SECONDS):
            await reader.readuntil(b"}")
            writer.write(b"\r\n")
            assert await reader.read() == b""


async def test_idle_connections_of_an_address_count_and_those_of_a_proxy_do_not(own_gateway: OwnGateway) -> None:
    for proxies, held in (("192.0.2.1", 3), ("127.0.0.1", 5)):
        gateway = own_gateway(max_connections_per_address=3, handshake_seconds=0.3, trusted_proxies=proxies)
        async with AsyncExitStack() as stack:
            opened_ones = [await stack.enter_async_context(opened(gateway, WHOLE)) for _ in range(5)]
            async with asyncio.timeout(WAIT_SECONDS):
                answers = [await reader.read(65536) for reader, _ in opened_ones if not await _is_cut(reader)]
                assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * held
                await asyncio.sleep(0.4)  # idle for longer than a request may take
                async with opened(gateway, WHOLE) as (late, _):
                    assert await _is_cut(late) == (held == 3)
                if held == 3:
                    opened_ones[0][1].close()
                    await _answered_in_time(gateway)


async def _is_cut(reader: asyncio.StreamReader) -> bool:
    """Wait until something arrives, and return whether it is the end."""
    while not reader._buffer:  # type: ignore[attr-defined]
        if reader.at_eof() or reader.exception() is not None:
            return True
        await asyncio.sleep(0.01)
    return False


async def _answered_in_time(gateway: Any) -> None:
    """Repeat a request until the place of a closed connection is free."""
    while True:
        async with opened(gateway, WHOLE) as (reader, _):
            if not await _is_cut(reader):
                return


async def _much(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with 32 MB, more than fits in all buffers on the way."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for left in range(512, 0, -1):
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": left > 1})


@pytest.mark.server
async def test_a_client_that_asks_and_does_not_read_is_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = server_config(settings_for_tests(tmp_path, handshake_seconds=0.5), _much, lifespan="off")
    sock = listen("127.0.0.1", 0)
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    await until(lambda: server.started)
    with caplog.at_level("INFO"):
        unread, writer = await asyncio.open_connection(*sock.getsockname(), limit=1024)
        writer.write(WHOLE)
        slow, slow_writer = await asyncio.open_connection(*sock.getsockname())
        slow_writer.write(WHOLE)
        received = 0
        while data := await asyncio.wait_for(slow.read(1 << 20), WAIT_SECONDS):  # reads all the time, and slowly
            received += len(data)
            if received > 32 << 20:
                break
            await asyncio.sleep(0.02)
        assert received > 32 << 20
        await until(lambda: "closed 1 connections that did not read an answer in 0.5 s" in caplog.text)
    assert len(await rest(unread)) < 32 << 20
    for each in (writer, slow_writer):
        each.close()
    server.end()
    await serving
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}], caplog.text
