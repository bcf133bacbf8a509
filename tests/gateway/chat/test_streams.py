"""Streaming handlers over a real socket: chunks at once, one reply for a client that wants one, and each fault."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.testing import Call, FakeSession, Gateway, running_gateway, settings_for_tests
from handlers.base import MsgHandler
from handlers.errors import NotFound
from handlers.registry import HANDLERS
from handlers.streaming import Chunk, Reply
from schemas.base import Empty, Event, Wire
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame
from tests.support.waiting import until

pytestmark = pytest.mark.server


class Which(Wire):
    """Which of `STREAMS` to send."""

    stream: str


class Counted(Wire):
    """The data of the closing reply."""

    most: int


class Texts(Wire):
    """A closing reply with a key that the whole has too."""

    text: str


class Listed(Wire):
    """A chunk with a key that has no value."""

    known: int
    unknown: int | None = None


def of(*chunks: Any) -> Callable[[], AsyncIterator[Chunk]]:
    """Return a generator function that yields these, and what these functions return."""

    async def make() -> AsyncIterator[Chunk]:
        for chunk in chunks:
            yield chunk() if callable(chunk) else chunk

    return make


def failing() -> Any:
    raise ZeroDivisionError


def refusing() -> Any:
    raise NotFound("there is no such thing")


async def endless() -> AsyncIterator[Chunk]:
    """Never end, and never wait."""
    while True:
        yield "x" * 1000


async def endless_lists() -> AsyncIterator[Chunk]:
    """The same with chunks that cannot be joined."""
    while True:
        yield ["x" * 1000]


STREAMS: dict[str, Callable[[], AsyncIterator[Chunk]]] = {
    "texts": of("a", "b ", "ü", Reply(Counted(most=3))),
    "values": of("a", 1, True, 2.5, ["x"], {"key": None}, Listed(known=1), Reply(Counted(most=6))),
    "nothing": of(),
    "only a reply": of(Reply(Counted(most=0))),
    "a reply that wins": of("a", Reply(Texts(text="mine"))),
    "refuses": of("a", refusing),
    "fails": of("a", failing),
    "after the reply": of("a", Reply(Counted(most=1)), "b"),
    "none": of("a", lambda: None),
    "nan": of("a", {"value": float("nan")}),
    "surrogate": of("a", "\ud800"),
    "too long": of("a", "x" * 300_000),
    "no json": of("a", object),
    "long together": of(*["x" * 100_000] * 3),
    "endless": endless,
    "endless lists": endless_lists,
}


@dataclass
class Gates:
    """The gates that a handler waits at, and the streams that have ended, by the connection."""

    gates: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    ended: list[str] = field(default_factory=list)
    yielded: Counter[str] = field(default_factory=Counter)


class StreamHandler(MsgHandler[Which, Counted, Gates]):
    """Streams what a message asks for."""

    schema = Which

    async def handle(self, data: Which) -> AsyncIterator[Chunk]:
        gates, connection = self.session.state, self.session.connection
        try:
            async for chunk in STREAMS[data.stream]():
                gates.yielded[connection] += 1
                yield chunk
        finally:
            gates.ended.append(connection)


class OrderedStreamHandler(StreamHandler):
    """The same, in order."""

    ordered = True


class Progress(Event):
    """An event of a message that goes on."""

    type: ClassVar[str] = "progress"

    part: int


class ProgressHandler(MsgHandler[Which, Empty, Gates]):
    """Sends two events before a gate, the second of them at once."""

    schema = Which

    async def handle(self, data: Which) -> Empty:
        for part in (1, 2):
            self.session.send_event(Progress(part=part))
        self.session.flush()
        self.session.send_event(Progress(part=3))
        await self.session.state.gates[data.stream].wait()
        return Empty()


class UnorderedProgressHandler(ProgressHandler):
    """The same, beside other messages."""

    ordered = False


class SlowHandler(MsgHandler[Which, Counted, Gates]):
    """Streams a chunk before a gate, and one behind it."""

    schema = Which

    async def handle(self, data: Which) -> AsyncIterator[Chunk]:
        yield "before"
        await self.session.state.gates[data.stream].wait()
        yield "behind"


class SlowOrderedHandler(SlowHandler):
    """The same, in order."""

    ordered = True

    async def handle(self, data: Which) -> AsyncIterator[Chunk]:
        await self.session.messages.send(data.stream, text="from it", body=None, reply_to=None, client_id=None)
        async for chunk in super().handle(data):
            yield chunk


OWN: dict[str, type[MsgHandler[Any, Any, Any]]] = {
    "stream": StreamHandler,
    "stream.in_order": OrderedStreamHandler,
    "slow": SlowHandler,
    "slow.in_order": SlowOrderedHandler,
    "progress": ProgressHandler,
    "progress.unordered": UnorderedProgressHandler,
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with streaming handlers, for all tests of this file."""
    settings = settings_for_tests(tmp_path_factory.mktemp("streams"), outbox_frames=16, outbox_bytes=524288)
    with running_gateway(settings, registry={**HANDLERS, **OWN}, state=Gates()) as running:
        yield running


async def begin(client: ChatClient, type: str, which: str, id: int | str = "s") -> None:
    """Ask for a stream."""
    await client.send({"type": type, "id": id, "data": {"stream": which}, "stream": True})


async def answer_to(client: ChatClient, which: str) -> tuple[list[Any], Frame]:
    """Return the chunks of a stream and its end. The numbers have no gap."""
    await begin(client, "stream", which)
    chunks: list[Any] = []
    while (frame := await client.next())["type"] == "chunk":
        chunks.append(frame["data"])
        assert frame == {"type": "chunk", "id": "s", "seq": len(chunks), "data": chunks[-1]}
    assert frame["id"] == "s"
    return chunks, frame


def gates_of(gateway: Gateway) -> Gates:
    gates: Gates = gateway.state.app_state  # type: ignore[assignment]
    return gates


def open_gate(gateway: Gateway, name: str) -> None:
    gateway.loop.call_soon_threadsafe(gates_of(gateway).gates[name].set)


def test_a_generator_streams_and_is_unordered_unless_it_says_otherwise() -> None:
    class InOrder(SlowOrderedHandler):
        pass

    assert [kind.streams for kind in (StreamHandler, SlowOrderedHandler, InOrder, HANDLERS["echo"])] == [
        True,
        True,
        True,
        False,
    ]
    assert [kind.ordered for kind in (StreamHandler, SlowOrderedHandler, InOrder, HANDLERS["echo"])] == [
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("which", "chunks", "closing"),
    [
        ("texts", ["a", "b ", "ü"], {"most": 3}),
        ("values", ["a", 1, True, 2.5, ["x"], {"key": None}, {"known": 1}], {"most": 6}),
        ("nothing", [], {}),
        ("only a reply", [], {"most": 0}),
        ("a reply that wins", ["a"], {"text": "mine"}),
        ("long together", ["x" * 100_000] * 3, {}),
    ],
)
async def test_a_client_that_asks_gets_each_chunk_and_a_closing_reply(
    app: App, alice: str, which: str, chunks: list[Any], closing: Frame
) -> None:
    async with app.connect(alice) as client:
        found, end = await answer_to(client, which)
        assert found == chunks
        assert end == {"type": "reply", "id": "s", "status": 20000, "data": closing}
        await client.expect_nothing()


@pytest.mark.parametrize(
    ("which", "whole"),
    [
        ("texts", {"text": "ab ü", "most": 3}),
        ("values", {"items": ["a", 1, True, 2.5, ["x"], {"key": None}, {"known": 1}], "most": 6}),
        ("nothing", {}),
        ("only a reply", {"most": 0}),
        ("a reply that wins", {"text": "mine"}),
    ],
)
async def test_a_client_that_does_not_ask_gets_the_whole(app: App, alice: str, which: str, whole: Frame) -> None:
    async with app.connect(alice) as client:
        assert await client.ask("stream", stream=which) == whole
        await client.send({"type": "stream", "id": 1, "data": {"stream": which}, "stream": False})
        await client.expect("reply", id=1, **whole)
        await client.expect_nothing()


@pytest.mark.parametrize(
    ("which", "status"),
    [
        ("refuses", 40400),
        ("fails", 50000),
        ("after the reply", 50000),
        ("none", 50000),
        ("nan", 50000),
        ("surrogate", 50000),
        ("too long", 50000),
        ("no json", 50000),
    ],
)
async def test_a_fault_in_the_middle_ends_the_stream_with_an_error(
    app: App, alice: str, which: str, status: int
) -> None:
    async with app.connect(alice) as client:
        chunks, end = await answer_to(client, which)
        assert (chunks, end["type"], end["status"]) == (["a"], "error", status)
        assert (await client.refused("stream", stream=which))["status"] == status
        await client.expect_nothing()


@pytest.mark.parametrize("which", ["endless", "long together"])
async def test_the_whole_stays_under_the_limit_of_a_frame(app: App, alice: str, which: str) -> None:
    async with app.connect(alice) as client:
        assert (await client.refused("stream", stream=which))["status"] == 50000


async def test_without_an_id_there_are_no_chunks_and_only_errors(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": "stream", "data": {"stream": "texts"}})
        await client.expect_nothing()
        await client.send({"type": "stream", "data": {"stream": "refuses"}})
        await client.expect("error", id=None, status=40400)


@pytest.mark.parametrize(
    "wrong", [{"stream": 1, "id": 1}, {"stream": "yes", "id": 1}, {"stream": None, "id": 1}, {"stream": True}]
)
async def test_a_wrong_stream_is_refused(app: App, alice: str, wrong: Frame) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": "stream", "data": {"stream": "texts"}, **wrong})
        error = await client.expect("error", id=wrong.get("id"), status=42200)
        assert [detail["field"] for detail in error["details"]] == ["stream"]


async def test_a_handler_that_does_not_stream_just_replies(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await client.send({"type": "echo", "id": 1, "data": "hello", "stream": True})
        await client.expect("reply", id=1, data="hello")


async def test_chunks_come_at_once_and_later_messages_do_not_wait(gateway: Gateway, app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        await begin(client, "slow", alice)
        await client.expect("chunk", id="s", seq=1)
        await client.ask("ping")
        open_gate(gateway, alice)
        await client.expect("chunk", id="s", seq=2, data="behind")
        await client.expect("reply", id="s")


async def test_an_ordered_handler_streams_before_what_it_causes_and_later_messages_wait(
    gateway: Gateway, app: App, alice: str, room: str
) -> None:
    async with app.in_room(alice, room) as client:
        for number in (1, 2):
            await begin(client, "slow.in_order", room, id=number)
            await client.expect("chunk", id=number, seq=1)
            ping = await client.start("ping")
            open_gate(gateway, room)
            await client.expect("chunk", id=number, seq=2)
            await client.expect("reply", id=number)
            await client.expect("chat.message", text="from it")
            await client.expect("reply", id=ping)


@pytest.mark.parametrize("type", ["stream", "stream.in_order"])
async def test_a_generator_ends_when_its_client_is_gone(gateway: Gateway, app: App, alice: str, type: str) -> None:
    async with app.connect(alice) as client:
        connection = client.welcome["connection"]
        await begin(client, type, "endless")
        await client.expect("chunk")
        client.ws.transport.abort()
        await until(lambda: connection in gates_of(gateway).ended)
        await until(lambda: gateway.state.connections.count == 0)


@pytest.mark.parametrize("which", ["endless", "endless lists"])
async def test_a_reader_that_stops_makes_the_stream_wait_and_goes_on_without_a_gap(
    gateway: Gateway, app: App, alice: str, which: str
) -> None:
    async with app.connect(alice) as client:
        yielded, connection = gates_of(gateway).yielded, client.welcome["connection"]
        client.ws.transport.pause_reading()
        await begin(client, "stream", which)
        outbox = next(iter(gateway.state.connections.all())).ws.outbox  # type: ignore[attr-defined]
        await until(lambda: outbox._room is not None)  # it waits
        before = yielded[connection]
        assert 0.5 <= outbox.backlog < 1
        client.ws.transport.resume_reading()
        length = seq = number = 0
        while (frame := await client.next())["type"] == "chunk":
            seq += 1
            assert (frame["id"], frame["seq"]) == ("s", seq)
            length += len("".join(frame["data"]))
            if not number and length // 1000 > before:
                number = await client.start("cancel", id="s")
        assert frame["status"] == 49900
        await client.expect("reply", id=number)
        assert length % 1000 == 0
        assert before <= length // 1000 <= yielded[connection]
        assert (length // 1000 > seq) is (which == "endless")  # joined, or each alone


@pytest.mark.parametrize("which", ["endless", "endless lists"])
async def test_a_client_that_does_not_read_a_stream_is_closed_as_slow(
    gateway: Gateway,
    app: App,
    alice: str,
    which: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("gateway.transport.outbox.ROOM_SECONDS", 0.3)
    async with app.connect(alice) as client:
        client.ws.transport.pause_reading()
        await begin(client, "stream", which)
        await until(lambda: client.welcome["connection"] in gates_of(gateway).ended)
        await until(lambda: gateway.state.connections.count == 0)
        client.ws.transport.abort()
    assert "closing a slow consumer" in caplog.messages
    assert "a handler failed" not in caplog.messages


async def test_a_stream_that_never_waits_holds_up_no_other_client(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as client, app.connect(bob) as other:
        reading = asyncio.create_task(read_for_ever(client))
        for type in ("stream", "stream.in_order"):
            await begin(client, type, "endless lists", id=type)
        for _ in range(3):
            await other.ask("echo", text="beside it")
        assert not reading.done()
        reading.cancel()


async def read_for_ever(client: ChatClient) -> None:
    """Read chunks without looking at them."""
    while True:
        await client.ws.recv()


async def test_events_that_are_flushed_come_while_the_message_goes_on(
    gateway: Gateway, app: App, alice: str, room: str
) -> None:
    async with app.connect(alice) as client:
        number = await client.start("progress", stream=room)
        await client.expect("progress", part=1)
        await client.expect("progress", part=2)
        open_gate(gateway, room)
        await client.expect("reply", id=number)
        await client.expect("progress", part=3)
        number = await client.start("progress.unordered", stream=room)
        for part in (1, 2, 3):
            await client.expect("progress", part=part)
        await client.expect("reply", id=number)


async def test_an_error_may_follow_flushed_events(gateway: Gateway, app: App, alice: str, room: str) -> None:
    token = await app.token(alice)
    answer = await app.ask("POST", "/call/progress", token, json={"stream": room})
    assert answer.json()["status"] == 50000  # no connection could get its events


async def test_a_drain_waits_for_streams_within_its_seconds(own_gateway: OwnGateway, alice: str, bob: str) -> None:
    gates = Gates()
    own = own_gateway(registry={**HANDLERS, **OWN}, state=gates)
    async with App(own) as app, app.connect(alice) as client, app.connect(bob) as endless:
        reading = asyncio.create_task(read_for_ever(endless))
        await begin(endless, "stream", "endless")
        await begin(client, "slow", alice)
        await client.expect("chunk", data="before")
        drained = asyncio.create_task(own.run(own.state.connections.drain(2)))
        await until(lambda: own.state.connections._draining)
        own.loop.call_soon_threadsafe(gates.gates[alice].set)
        await client.expect("chunk", data="behind")
        await client.expect("reply", id="s")
        await client.expect("bye", code=1012)
        await drained
        async with asyncio.timeout(20):
            await asyncio.wait([reading])
        await until(lambda: gates.ended == [endless.welcome["connection"]])
        assert isinstance(reading.exception(), ConnectionClosed)


async def test_streams_over_another_servers_protocol(own_gateway: OwnGateway, alice: str) -> None:
    own = own_gateway(registry={**HANDLERS, **OWN}, state=Gates(), options={"ws": "wsproto"})
    async with App(own) as app, app.connect(alice) as client:
        chunks, end = await answer_to(client, "texts")
        assert ("".join(chunks), end["data"]) == ("ab ü", {"most": 3})
        await begin(client, "stream.in_order", "endless")
        await client.expect("chunk", seq=1)
        client.ws.transport.abort()
        await until(lambda: len(gates_of(own).ended) == 2)
        await until(lambda: own.state.connections.count == 0)


async def test_a_fake_session_records_chunks() -> None:
    for type in (StreamHandler, OrderedStreamHandler):
        session = FakeSession(state=Gates())
        await session.run(type, {"stream": "texts"}, stream=True)
        assert session.chunks == [(1, "a"), (1, "b "), (1, "ü")]
        assert session.replies == [(1, Counted(most=3))]
        await session.run(type, {"stream": "texts"}, id=2)
        assert session.replies[1][1].model_dump() == {"text": "ab ü", "most": 3}
        await session.run(type, {"stream": "refuses"}, id=3, stream=True)
        assert session.refusals[0][1].status == 40400
        with pytest.raises(ValueError, match="finite numbers"):
            await session.run(type, {"stream": "nan"}, stream=True)


async def test_a_fake_session_records_a_flush_and_a_cancel() -> None:
    session = FakeSession(state=Gates())
    session.state.gates["open"].set()
    await session.run(ProgressHandler, {"stream": "open"})
    await session.run(HANDLERS["cancel"], {"id": 7})
    assert session.calls == [Call("flush", {}), Call("cancel", {"id": 7})]
    assert len(session.events) == 3
