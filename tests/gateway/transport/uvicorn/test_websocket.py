"""The raw transport: the same protocol, however the bytes arrive and whichever server runs it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from gateway.cli.serve import server_config
from gateway.testing import settings_for_tests
from gateway.testing.server import serving
from gateway.transport.uvicorn.websocket import MAX_QUEUED, GatewayProtocol, supported
from tests.conftest import OwnGateway
from tests.gateway.transport.test_handshakes import HANDSHAKE
from tests.support.client import WAIT_SECONDS, App
from tests.support.wire import CLOSE, CONTINUATION, PING, PONG, Wire, echo, frame, wire

pytestmark = pytest.mark.server


@pytest.fixture
async def line(app: App, alice: str) -> AsyncIterator[Wire]:
    async with wire(app, alice) as connection:
        yield connection


def test_the_installed_libraries_are_as_the_direct_way_takes_them_to_be() -> None:
    assert supported()


@pytest.mark.parametrize("change", ["parser", "constructor", "handle_connect", "handle_ping", "keepalive_timeout"])
def test_a_library_that_has_moved_is_noticed_and_not_used_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, change: str
) -> None:
    uvicorns = "uvicorn.protocols.websockets.websockets_sansio_impl.WebSocketsSansIOProtocol"
    if change == "parser":
        monkeypatch.setattr("websockets.streams.StreamReader.at_eof", lambda self: iter(()))
    elif change == "constructor":
        monkeypatch.setattr(f"{uvicorns}.__init__", lambda self: None)
    else:
        monkeypatch.delattr(f"{uvicorns}.{change}")
    assert not supported()
    assert server_config(settings_for_tests(tmp_path), "gateway.asgi:app").ws == "websockets-sansio"
    assert "the gateway uses uvicorn's own protocol" in caplog.text


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


async def test_what_was_sent_before_the_end_is_handled_however_much_it_is(app: App, alice: str, room: str) -> None:
    count = 20 * MAX_QUEUED
    sent = [json.dumps({"type": "chat.send", "data": {"room": room, "text": str(number)}}) for number in range(count)]
    async with app.in_room(alice, room) as reader:
        async with wire(app, alice) as line:
            await line.write(frame(json.dumps({"type": "room.join", "id": 1, "data": {"room": room}})))
            while b'"id":1' not in (await line.read())[1]:
                pass
            await line.write(b"".join(map(frame, sent)))
            line.writer.write_eof()
            heard = [(await reader.expect("chat.message"))["text"] for _ in sent]
        assert heard == [str(number) for number in range(count)]


async def test_of_a_client_that_is_closed_in_the_middle_of_what_it_says_the_answer_is_found(line: Wire) -> None:
    await line.write(frame('{"type":"bye"}') + frame(echo(1)) * 500)
    while (await line.read())[0] != CLOSE:
        pass
    await line.write(frame((1000).to_bytes(2), CLOSE))
    async with asyncio.timeout(5):  # and not after the ten seconds that uvicorn would wait for it
        assert await line.reader.read() == b""


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


async def test_a_stop_right_behind_a_refused_handshake_leaves_it_its_one_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stopping(GatewayProtocol):
        async def run_asgi(self) -> None:
            self.loop.call_soon(self.shutdown)  # as the server does for each connection at its end
            await super().run_asgi()

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer nothing, so that uvicorn refuses the handshake."""

    config = server_config(settings_for_tests(tmp_path), silent, ws=Stopping, lifespan="off")
    with serving(config) as running:
        reader, writer = await asyncio.open_connection(running.host, running.port)
        writer.write(HANDSHAKE.encode() + b"\r\n")
        async with asyncio.timeout(WAIT_SECONDS):
            answer = await reader.read()
        writer.close()
    assert answer.count(b"HTTP/1.1 500 ") == answer.count(b"HTTP/1.1 ") == 1
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "ASGI callable returned without completing handshake."
    ]
