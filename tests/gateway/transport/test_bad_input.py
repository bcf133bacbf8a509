"""Clients that break or bend the protocol: each gets the answer of RFC 6455, and other clients notice nothing.

The cases are those of the Autobahn test suite for servers. They run on the gateway's protocol and on uvicorn's own,
which the gateway falls back to.
"""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.chat.websocket import GatewayWebSocket
from gateway.testing import Gateway, running_gateway, settings_for_tests
from gateway.transport.outbox import Outbox
from gateway.transport.uvicorn.bounds import FRAMES_PER_SECOND, SLICE_BYTES
from gateway.transport.uvicorn.websocket import GatewayProtocol
from tests.conftest import OwnGateway
from tests.support.client import WAIT_SECONDS, App
from tests.support.waiting import until
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Wire, echo, frame, handshake, wire

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", params=["ours", "uvicorn's"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on our protocol, and one on uvicorn's own."""
    options = {} if request.param == "ours" else {"ws": "websockets-sansio"}
    settings = settings_for_tests(tmp_path_factory.mktemp("bad-input"), max_connections_per_user=0)
    with running_gateway(settings, options=options) as running:
        yield running


@pytest.fixture
async def either(server: Gateway, alice: str) -> AsyncIterator[Wire]:
    """A connection on either protocol."""
    async with App(server) as app, wire(app, alice) as connection:
        yield connection


@pytest.fixture
async def line(app: App, alice: str) -> AsyncIterator[Wire]:
    """A connection on our protocol."""
    async with wire(app, alice) as connection:
        yield connection


def code(number: int, reason: bytes = b"") -> bytes:
    """The payload of a close frame."""
    return number.to_bytes(2) + reason


WRONG = {
    "a continuation without a start": (frame("x", CONTINUATION), 1002),
    "a continuation after a whole message": (frame("") + frame("x", CONTINUATION), 1002),
    "a message within a message": (frame("x", fin=False) + frame("y"), 1002),
    "a binary message within a message": (frame("x", fin=False) + frame("y", BINARY), 1002),
    "a frame without a mask": (b"\x81\x02hi", 1002),
    "a ping without a mask": (b"\x89\x00", 1002),
    "a close without a mask": (b"\x88\x00", 1002),
    "the first reserved bit": (bytes([0xC1]) + frame("x")[1:], 1002),
    "the second reserved bit": (bytes([0xA1]) + frame("x")[1:], 1002),
    "the third reserved bit": (bytes([0x91]) + frame("x")[1:], 1002),
    "a reserved bit on a ping": (bytes([0xC9]) + frame("x", PING)[1:], 1002),
    "a reserved bit on a continuation": (
        frame("x", fin=False) + bytes([0xC0]) + frame("x", CONTINUATION)[1:],
        1002,
    ),
    **{f"the opcode {opcode}": (frame("x", opcode), 1002) for opcode in (3, 7, 11, 15)},
    "a ping in two fragments": (frame("x", PING, fin=False) + frame("x", CONTINUATION), 1002),
    "a pong in fragments": (frame("x", PONG, fin=False), 1002),
    "a close in fragments": (frame(code(1000), CLOSE, fin=False), 1002),
    "a ping of 126 bytes": (frame("x" * 126, PING), 1002),
    "a pong of 126 bytes": (frame("x" * 126, PONG), 1002),
    "a close of 126 bytes": (frame(code(1000, b"x" * 124), CLOSE), 1002),
    "a ping of 64 KiB": (frame("x" * 65535, PING), 1002),
    "a close of one byte": (frame(b"\x03", CLOSE), 1002),
    **{
        f"a close with {number}": (frame(code(number), CLOSE), 1002)
        for number in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "a close with invalid UTF-8": (
        frame(code(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0"), CLOSE),
        1007,
    ),
    "invalid UTF-8": (frame(b"\xff\xfe"), 1007),
    "an overlong encoding": (frame(b"\xc0\xaf"), 1007),
    "a surrogate in UTF-8": (frame(b"\xed\xa0\x80"), 1007),
    "beyond Unicode": (frame(b"\xf4\x90\x80\x80"), 1007),
    "half a character": (frame("κόσμε".encode()[:-1]), 1007),
    "invalid UTF-8 in fragments": (frame(b"\xc3", fin=False) + frame(b"\x28", CONTINUATION), 1007),
    "a message far too large": (frame("x" * (4 * 65536 + 1))[:20], 1009),
    "fragments far too large": (
        frame("x" * 150_000, fin=False) + frame("x" * 150_000, CONTINUATION)[:20],
        1009,
    ),
    "a length of 2 to the 62": (b"\x81\xff\x40" + b"\0" * 11, 1009),
}

FINE = {
    "an empty mask": frame(echo(1), mask=b"\0\0\0\0"),
    "a length of 16 bits for a few bytes": b"\x81\xfe\x00\x33" + frame(echo(1) + " " * (51 - len(echo(1))))[2:],
    "an empty first fragment": frame("", fin=False) + frame(echo(1), CONTINUATION),
    "an empty last fragment": frame(echo(1), fin=False) + frame("", CONTINUATION),
    "empty fragments": frame("", fin=False) + frame("", CONTINUATION, fin=False) * 20 + frame(echo(1), CONTINUATION),
    "a pong that nobody asked for": frame("x" * 125, PONG) + frame(echo(1)),
    "an empty pong": frame("", PONG) + frame(echo(1)),
}

CLOSES = {
    "an empty close": (b"", b""),
    "1000": (code(1000), code(1000)),
    "1000 with a reason": (code(1000, b"x" * 123), code(1000, b"x" * 123)),
    "1001": (code(1001), code(1001)),
    "1014": (code(1014), code(1014)),
    "3000": (code(3000), code(3000)),
    "4999": (code(4999, "ключ".encode()), code(4999, "ключ".encode())),
}


@asynccontextmanager
async def opened(gateway: Gateway, token: str) -> AsyncIterator[Wire]:
    """Connect with a token, up to the welcome."""
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    writer.write(handshake(token))
    line = Wire(reader, writer)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await reader.readuntil(b"\r\n\r\n")
        await line.read()
        yield line
    finally:
        writer.close()


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait until the gateway has closed the socket, and check that nothing comes before that."""
    async with asyncio.timeout(WAIT_SECONDS):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""


@pytest.mark.parametrize("behind", [b"", frame(echo(1))], ids=["alone", "behind a message"])
async def test_what_breaks_the_protocol_ends_the_connection_with_the_right_code(
    server: Gateway, alice: str, behind: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with App(server) as app, app.connect(alice) as other:
        token = await app.token(alice)
        for name, (data, expected) in WRONG.items():
            async with opened(server, token) as line:
                await line.write(behind + data + frame(echo(7)))
                while (answer := await line.read())[0] != CLOSE:
                    assert behind, name
                assert answer[1][:2] == code(expected), name
                await ended(line.reader)
        await other.expect_nothing()
    assert "Traceback" not in caplog.text


async def test_what_is_unusual_and_allowed_is_taken(either: Wire) -> None:
    for name, data in FINE.items():
        await either.write(data)
        assert await either.echoed(1), name


async def test_a_close_is_answered_with_its_own_code_and_nothing_after_it_is_handled(
    server: Gateway, alice: str
) -> None:
    async with App(server) as app:
        token = await app.token(alice)
        for name, (sent, answered) in CLOSES.items():
            async with opened(server, token) as line:
                await line.write(frame(sent, CLOSE) + frame(echo(1)) + frame("x", PING))
                assert await line.read() == (CLOSE, answered), name
                await ended(line.reader)


async def test_a_close_between_two_fragments_is_answered_with_its_own_code(line: Wire) -> None:
    await line.write(frame("half a message", fin=False) + frame(code(1000, b"done"), CLOSE))
    assert await line.read() == (CLOSE, code(1000, b"done"))
    await ended(line.reader)


STILL_WRITING = {
    "a message far too large": (frame("x" * 2_000_000), 1009),
    "fragments far too large": (
        frame("x" * 100_000, fin=False) + frame("x" * 100_000, CONTINUATION, fin=False) * 9,
        1009,
    ),
    "what is no frame": (b"\xff" * 2_000_000, 1002),
}


async def test_a_client_that_still_writes_learns_why_it_is_cut_off(app: App, alice: str) -> None:
    token = await app.token(alice)
    for name, (data, expected) in STILL_WRITING.items():
        for _ in range(5):
            async with opened(app.gateway, token) as line:
                writing = asyncio.create_task(line.write(data, piece=500))
                opcode, payload = await line.read()
                assert (opcode, payload[:2]) == (CLOSE, code(expected)), name
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)


async def test_a_client_that_never_stops_writing_is_gone_after_a_second(line: Wire, app: App) -> None:
    await line.write(b"\xff\xff")
    await line.closed(1002)
    async with asyncio.timeout(WAIT_SECONDS):
        with suppress(ConnectionError):
            while True:
                await line.write(b"\xff" * 65536)


async def test_a_message_in_the_smallest_fragments_with_pings_between_is_whole(either: Wire) -> None:
    text = echo(1, "πινγ").encode()
    data = frame(text[:1], fin=False)
    for byte in text[1:-1]:
        data += frame(b"p" * 125, PING) + frame(bytes([byte]), CONTINUATION, fin=False)
    await either.write(data + frame(text[-1:], CONTINUATION))
    for _ in text[1:-1]:
        assert await either.read() == (PONG, b"p" * 125)
    assert await either.echoed(1) == "πινγ"


async def test_a_conversation_may_be_cut_at_every_byte(either: Wire) -> None:
    data = (
        frame(echo(1, "καλημέρα")) + frame("p", PING) + frame(echo(2)[:9], fin=False) + frame(echo(2)[9:], CONTINUATION)
    )
    for cut in range(1, len(data)):
        await either.write(data[:cut])
        await asyncio.sleep(0.001)  # so that most cuts are also where one read ends
        await either.write(data[cut:])
        answers = sorted([await either.read() for _ in range(3)], key=lambda answer: (answer[0] == PONG, answer[1]))
        assert answers[2] == (PONG, b"p")
        assert [json.loads(payload)["id"] for _, payload in answers[:2]] == [1, 2]


@pytest.mark.parametrize("over", [0, 1])
async def test_a_message_of_exactly_the_limit_is_taken_and_one_byte_more_refused(either: Wire, over: int) -> None:
    text = echo(1, "x" * 65536)
    text = text.replace("x" * (len(text) - 65536 - over), "", 1)
    assert len(text) == 65536 + over
    cut = 30_000
    for data in (frame(text), frame(text[:cut], fin=False) + frame(text[cut:], CONTINUATION)):
        await either.write(data)
        if over:
            _, payload = await either.read()
            assert json.loads(payload)["status"] == 41300
        else:
            await either.echoed(1)


FLOODS = {
    "10,000 pings": frame("p" * 125, PING) * 10_000,
    "a megabyte of one-byte fragments": frame("x", fin=False) + frame("x", CONTINUATION, fin=False) * 150_000,
    "empty fragments": frame("x", fin=False) + frame("", CONTINUATION, fin=False) * 150_000,
    "pongs": frame("", PONG) * 150_000,
    "binary messages": frame("", BINARY) * 150_000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "reads nothing"])
async def test_a_flood_of_small_frames_ends_its_connection_and_holds_up_no_other(
    app: App, alice: str, bob: str, flood: bytes, reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled = 0
    allows_one = GatewayProtocol._allows_one

    def count(protocol: GatewayProtocol) -> bool:
        nonlocal handled
        handled += 1
        return allows_one(protocol)

    monkeypatch.setattr(GatewayProtocol, "_allows_one", count)
    async with app.connect(bob) as other, wire(app, alice) as line:
        if not reads:
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        line.writer.write(flood)
        began = time.monotonic()
        for _ in range(5):
            await other.ask("ping")
        if reads:
            await gone(line)
    # What it may send in that time, and what was read with the last of it.
    assert 0 < handled <= FRAMES_PER_SECOND * (1 + time.monotonic() - began) + SLICE_BYTES


async def gone(line: Wire) -> None:
    """Wait for the end. A client that still writes may not be able to read the reason."""
    async with asyncio.timeout(WAIT_SECONDS):
        try:
            while True:
                opcode, payload = await line.read()
                if opcode == CLOSE:
                    assert payload == code(4429, b"rate_abuse")
                    return
        except (ConnectionResetError, asyncio.IncompleteReadError):
            return


async def test_a_client_that_pings_too_much_is_told_so(line: Wire) -> None:
    await line.write(frame("", PING) * 3 * FRAMES_PER_SECOND)  # a slow machine may need a second or two for them
    told = []
    while (each := await line.read())[0] != CLOSE:
        if each[0] == TEXT:
            told.append(json.loads(each[1]))
    assert each[1] == code(4429, b"rate_abuse")
    assert [(bye["type"], bye["data"]["reason"], bye["data"]["after_ms"]) for bye in told] == [
        ("bye", "rate_abuse", 10_000)
    ]
    await ended(line.reader)


async def test_a_client_may_ping_often_and_fragment_a_lot(line: Wire) -> None:
    text = echo(1, "x" * 30_000)
    pieces = [text[start : start + 100] for start in range(0, len(text), 100)]
    await line.write(b"".join(frame("", PING) for _ in range(300)))
    for _ in range(300):
        assert await line.read() == (PONG, b"")
    last = len(pieces) - 1
    await line.write(
        b"".join(frame(piece, CONTINUATION if at else TEXT, fin=at == last) for at, piece in enumerate(pieces))
    )
    await line.echoed(1)


async def test_a_connection_keeps_no_large_dictionary(app: App, alice: str) -> None:
    """One with more than 30 names has 1.5 KB: a new attribute of uvicorn needs its slot."""
    async with wire(app, alice):
        protocol = only(GatewayProtocol)
        assert set(vars(protocol)) <= {"request", "response"}
        assert all(len(vars(each)) <= 10 for each in gc.get_objects() if type(each) is GatewayWebSocket)


async def test_pongs_do_not_pile_up_for_a_client_that_does_not_read(app: App, alice: str) -> None:
    async with wire(app, alice) as line:
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        protocol = only(GatewayProtocol)
        await fill_the_socket(line, protocol)
        owed = protocol.transport.get_write_buffer_size()
        line.writer.write(frame("p" * 125, PING) * 900)
        await asyncio.sleep(0.2)
        assert protocol.transport.get_write_buffer_size() <= owed + 60_000


async def test_a_thousand_bad_frames_are_at_most_a_few_lines_in_the_log(
    server: Gateway, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with App(server) as app:
        token = await app.token(alice)
        caplog.clear()
        with caplog.at_level("WARNING"):
            async with wire(app, alice) as line:
                for number in range(1000):
                    await line.write(frame("nonsense", TEXT if number % 2 else BINARY))
                for _ in range(1000):
                    await line.read()
            for bad in [frame(b"\xff"), b"\x81\x02hi", frame("x", 3)] * 30:
                async with opened(server, token) as line:
                    await line.write(bad)
                    assert (await line.read())[0] == CLOSE
            for garbage in [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"HELO example.com\r\n"] * 30:
                async with asyncio.timeout(WAIT_SECONDS):
                    reader, writer = await asyncio.open_connection(server.host, server.port)
                    writer.write(garbage)
                    await reader.readline()
                    writer.close()
        assert len(caplog.records) <= 20
        assert "Traceback" not in caplog.text


async def fill_the_socket(line: Wire, protocol: GatewayProtocol) -> None:
    """Send echoes without reading them, until the gateway cannot write any more."""
    text = frame(echo(1, "x" * 60_000))
    async with asyncio.timeout(WAIT_SECONDS):
        while protocol.writable.is_set():
            line.writer.write(text)
            await asyncio.sleep(0.001)


def only(kind: type[Any]) -> Any:
    """Return the one object of a kind that belongs to a live connection of this test."""
    found = [each for each in gc.get_objects() if type(each) is kind and not (each.disconnected or each.close_sent)]
    (one,) = found
    return one


def alive() -> int:
    """Return how many connections this process still remembers."""
    return sum(isinstance(each, GatewayProtocol | Outbox) for each in gc.get_objects())


def open_files(gateway: Gateway) -> int:
    """Return how many files and sockets this process has open, without those of the gateway's store.

    The store may open a connection to its database at any time, and keeps it for all clients.
    """
    store = str(gateway.settings.data_dir / "gateway.db")
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of this very list, or one that another thread has closed
            count += not str(descriptor.readlink()).startswith(store)
    return count


@asynccontextmanager
async def nothing_left_behind(gateway: Gateway) -> AsyncIterator[None]:
    """See that what is done in this block leaves no connection, no object and no open file.

    Nor does anything wait for the garbage collector, which looks seldom where there are many connections.
    """
    gc.collect()
    gc.disable()
    try:
        before = (gateway.state.connections.count, alive(), open_files(gateway))
        yield
        await until(lambda: gateway.state.connections.count <= before[0])
        await until(lambda: open_files(gateway) <= before[2])
        await until(lambda: alive() <= before[1])
    finally:
        gc.enable()


WAYS_TO_GO: dict[str, Callable[[Wire], Any]] = {
    "half a frame, then silence": lambda line: line.write(frame(echo(1))[:9]),
    "half a message, then silence": lambda line: line.write(frame("x" * 60_000, fin=False)),
    "invalid UTF-8": lambda line: line.write(frame(b"\xff")),
    "a flood": lambda line: line.write(FLOODS["pongs"][: 6 * 3000]),
    "a close": lambda line: line.write(frame(code(1000), CLOSE)),
    "echoes that are not read": lambda line: line.write(frame(echo(1, "x" * 60_000)) * 20),
}


async def test_whatever_a_client_does_and_however_it_goes_nothing_is_left_of_it(
    app: App, alice: str, bob: str, room: str
) -> None:
    token = await app.token(alice)
    await app.http.aclose()
    async with app.socket(f"?token={token}") as other:
        await other.expect("welcome")
        async with nothing_left_behind(app.gateway):
            for _ in range(5):
                for way in WAYS_TO_GO.values():
                    async with opened(app.gateway, token) as line:
                        await way(line)
                        line.writer.transport.abort()
        await other.expect_nothing()


async def test_subscribers_that_go_in_the_middle_of_a_fan_out_take_no_other_along(
    app: App, alice: str, room: str
) -> None:
    token = await app.token(alice)
    async with app.in_room(alice, room) as speaker, AsyncExitStack() as stack:
        listeners = []
        for _ in range(15):
            line = await stack.enter_async_context(opened(app.gateway, token))
            await line.write(frame(json.dumps({"type": "room.join", "id": 0, "data": {"room": room}})))
            assert json.loads((await line.read())[1])["status"] == 20000
            listeners.append(line)
        for number in range(30):
            numbers = [await speaker.start("chat.send", room=room, text=f"{number}-{at}") for at in range(5)]
            if number < 10:
                listeners.pop().writer.transport.abort()
            for each in numbers:
                await speaker.until(id=each, status=20000)
        for line in listeners:
            seen = [json.loads((await line.read())[1])["data"]["text"] for _ in range(150)]
            assert seen == [f"{number}-{at}" for number in range(30) for at in range(5)]


async def test_who_neither_reads_nor_answers_a_ping_is_gone_with_all_that_was_still_to_be_sent(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(heartbeat_seconds=1, outbox_bytes=100_000_000, outbox_frames=100_000)
    async with App(gateway) as app, wire(app, "alice") as line:
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        protocol = only(GatewayProtocol)
        await fill_the_socket(line, protocol)
        await until(lambda: gateway.state.connections.count == 0)
        assert protocol.disconnected
