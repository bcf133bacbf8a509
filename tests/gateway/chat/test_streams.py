"""Streaming handlers over a real socket: chunks at once, one reply for a client that wants one, and each fault."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers.base import MsgHandler
from handlers.errors import NotFound
from handlers.registry import HANDLERS
from handlers.streaming import Chunk, Reply
from schemas.base import Wire
from tests.support.client import App, ChatClient, Frame

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
    while True:
        yield "x" * 1000


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
}


@dataclass
class Gates:
    """The gates that a handler waits at."""

    gates: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))


class StreamHandler(MsgHandler[Which, Counted, Gates]):
    """Streams what a message asks for."""

    schema = Which

    async def handle(self, data: Which) -> AsyncIterator[Chunk]:
        async for chunk in STREAMS[data.stream]():
            yield chunk


class SlowHandler(MsgHandler[Which, Counted, Gates]):
    """Streams a chunk before a gate, and one behind it."""

    schema = Which

    async def handle(self, data: Which) -> AsyncIterator[Chunk]:
        yield "before"
        await self.session.state.gates[data.stream].wait()
        yield "behind"


class OrderedHandler(SlowHandler):
    """The same, in order."""

    ordered = True

    async def handle(self, data: Which) -> AsyncIterator[Chunk]:
        await self.session.messages.send(data.stream, text="from it", body=None, reply_to=None, client_id=None)
        async for chunk in super().handle(data):
            yield chunk


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with streaming handlers, for all tests of this file."""
    own: dict[str, type[MsgHandler[Any, Any, Any]]] = {
        "stream": StreamHandler,
        "slow": SlowHandler,
        "slow.in_order": OrderedHandler,
    }
    settings = settings_for_tests(tmp_path_factory.mktemp("streams"))
    with running_gateway(settings, registry={**HANDLERS, **own}, state=Gates()) as running:
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


def gates_of(gateway: Gateway) -> defaultdict[str, asyncio.Event]:
    gates: Gates = gateway.state.app_state  # type: ignore[assignment]
    return gates.gates


def open_gate(gateway: Gateway, name: str) -> None:
    gateway.loop.call_soon_threadsafe(gates_of(gateway)[name].set)


def test_a_generator_streams_and_is_unordered_unless_it_says_otherwise() -> None:
    class InOrder(OrderedHandler):
        pass

    assert [kind.streams for kind in (StreamHandler, OrderedHandler, InOrder, HANDLERS["echo"])] == [
        True,
        True,
        True,
        False,
    ]
    assert [kind.ordered for kind in (StreamHandler, OrderedHandler, InOrder, HANDLERS["echo"])] == [
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
