"""`POST /call/{type}` with `Accept: text/event-stream`: a program without a socket sees each chunk as it comes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

import httpx2
import pytest
import pytest_asyncio
from pydantic import Field
from starlette.types import Message

from gateway.api import event_stream
from gateway.api.event_stream import EventStream, asks_for_events
from gateway.chat.call_session import SendChunk
from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers import BUILT_IN, AppError, Chunk, MsgHandler, Registry, Reply
from handlers.errors import NotFound
from schemas.base import Empty, Wire
from tests.support.client import WAIT_SECONDS, App
from tests.support.waiting import until

pytestmark = pytest.mark.server

EVENTS = {"Accept": "text/event-stream"}


class Broken(AppError):
    """The machine is broken."""

    status = 60001
    name = "broken"
    http_status = 409

    def __str__(self) -> str:
        return "the machine is broken"


class Order(Wire):
    """What to do after some chunks."""

    chunks: list[Any] = Field(default=[])
    then: str = "end"


class Made(Wire):
    """How many chunks there were."""

    made: int


class MakeHandler(MsgHandler[Order, Made]):
    """Yields the chunks of its order, and then does what the order says."""

    schema = Order
    ended: ClassVar[list[str]] = []
    in_progress: ClassVar[int] = 0
    go_on: ClassVar[asyncio.Event]

    async def handle(self, data: Order) -> AsyncIterator[Chunk]:
        MakeHandler.go_on = asyncio.Event()
        MakeHandler.in_progress += 1
        try:
            if data.then == "refuse":
                raise NotFound("no such machine")
            for chunk in data.chunks:
                yield chunk
            match data.then:
                case "wait":
                    await self.go_on.wait()
                    yield "and on"
                case "break":
                    raise Broken
                case "fail":
                    raise RuntimeError("a secret")
                case "yield NaN":
                    yield float("nan")
                case "flood":
                    while True:
                        yield "x" * 1000
            yield Reply(Made(made=len(data.chunks)))
        except (asyncio.CancelledError, GeneratorExit):  # the other one if it does not wait itself
            self.ended.append("cancelled")
            raise
        finally:
            MakeHandler.in_progress -= 1


class GoOnHandler(MsgHandler[Empty, Empty]):
    """Lets the other one go on."""

    schema = Empty

    async def handle(self, data: Empty) -> Empty:
        MakeHandler.go_on.set()
        return Empty()


REGISTRY = BUILT_IN | Registry(handlers={"make": MakeHandler, "go_on": GoOnHandler}, errors=(Broken,))


@pytest.fixture(scope="module")
def streaming_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with these handlers, for all tests of this file."""
    settings = settings_for_tests(tmp_path_factory.mktemp("streaming"), max_call_seconds=3, max_connections_per_user=2)
    with running_gateway(settings, registry=REGISTRY) as running:
        yield running


@pytest_asyncio.fixture
async def caller(streaming_gateway: Gateway, alice: str) -> AsyncIterator["Caller"]:
    """A program of this test's user."""
    MakeHandler.ended.clear()
    async with App(streaming_gateway) as app:
        yield Caller(app, await app.token(alice))
    # The next test sees the ends of its own calls only.
    await until(lambda: not MakeHandler.in_progress)


class Caller:
    """A program with a token that reads events."""

    def __init__(self, app: App, token: str) -> None:
        self._app = app
        self._headers = {"Authorization": f"Bearer {token}"}

    @asynccontextmanager
    async def call(self, kind: str, data: Any, accept: str = EVENTS["Accept"]) -> AsyncIterator["Answer"]:
        """Call a type, and yield the answer as soon as it begins."""
        headers = self._headers | {"Accept": accept}
        async with self._app.http.stream("POST", f"/call/{kind}", json=data, headers=headers) as response:
            yield Answer(response)

    async def events(self, **order: Any) -> list[tuple[str, Any]]:
        """Call `make`, and return all events."""
        async with self.call("make", order) as answer:
            return await answer.rest()

    async def refused(self, kind: str, data: Any) -> tuple[int, int]:
        """Call a type, and return the two statuses of an error in JSON."""
        async with self.call(kind, data) as answer:
            assert answer.response.headers["content-type"] == "application/json"
            return answer.response.status_code, json.loads(await answer.response.aread())["status"]


class Answer:
    """The events of an answer, as pairs of name and data."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, Any] | None:
        """Return the next event, or None at the end."""
        name, data = "", None
        async with asyncio.timeout(WAIT_SECONDS):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data = json.loads(value)
                elif not line and (name or data is not None):
                    return name, data
        return None

    async def rest(self) -> list[tuple[str, Any]]:
        """Return all further events."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


async def test_each_chunk_comes_at_once_and_the_reply_at_the_end(caller: Caller) -> None:
    async with caller.call("make", {"chunks": ["one ", "two ", {"three": 3}], "then": "wait"}) as answer:
        headers = answer.response.headers
        assert answer.response.status_code == 200
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert [await answer.next() for _ in range(3)] == [("", "one "), ("", "two "), ("", {"three": 3})]
        async with caller.call("go_on", {}) as other:
            assert await other.rest() == [("reply", {})]
        assert await answer.rest() == [("", "and on"), ("reply", {"made": 3})]


async def test_without_the_header_the_whole_comes_as_one_reply(caller: Caller) -> None:
    for accept in ("*/*", "application/json"):
        async with caller.call("make", {"chunks": ["one ", "two"]}, accept) as answer:
            assert answer.response.headers["content-type"] == "application/json"
            assert json.loads(await answer.response.aread()) == {"text": "one two", "made": 2}


async def test_an_error_before_the_first_chunk_keeps_its_http_status(caller: Caller) -> None:
    assert await caller.refused("make", {"then": "refuse"}) == (404, 40400)
    assert await caller.refused("make", {"then": "break"}) == (409, 60001)
    assert await caller.refused("make", {"then": "fail"}) == (500, 50000)
    assert await caller.refused("make", {"then": "yield NaN"}) == (500, 50000)
    assert await caller.refused("make", {"chunks": 7}) == (422, 42200)
    assert await caller.refused("mkae", {}) == (400, 40002)
    assert await caller.refused("cancel", {"id": 1}) == (404, 40400)


async def test_an_error_in_the_middle_is_the_last_event(caller: Caller) -> None:
    one, (name, error) = await caller.events(chunks=["one"], then="break")
    assert (one, name) == (("", "one"), "error")
    assert error == {"status": 60001, "name": "broken", "message": "the machine is broken", "retryable": False}
    for then in ("fail", "yield NaN"):
        one, (name, error) = await caller.events(chunks=["one"], then=then)
        assert (one, name, error["status"]) == (("", "one"), "error", 50000)
        assert "secret" not in error["message"]


async def test_a_type_that_does_not_stream_answers_with_its_reply_alone(caller: Caller) -> None:
    async with caller.call("echo", [1, "zwei\n"]) as answer:
        assert await answer.rest() == [("reply", [1, "zwei\n"])]


async def test_a_client_that_goes_away_cancels_the_call(caller: Caller) -> None:
    for _ in range(3):  # its place is free each time: two may run at once
        async with caller.call("make", {"chunks": ["one"], "then": "wait"}) as answer:
            assert await answer.next() == ("", "one")
        await until(lambda: MakeHandler.ended == ["cancelled"])
        MakeHandler.ended.clear()


async def test_a_call_counts_while_it_streams(caller: Caller) -> None:
    order = {"chunks": ["one"], "then": "wait"}
    async with caller.call("make", order) as one, caller.call("make", order) as two:
        assert (await one.next(), await two.next()) == (("", "one"), ("", "one"))
        assert await caller.refused("make", order) == (429, 42900)


async def test_a_client_that_does_not_read_holds_up_its_handler_and_nothing_else(caller: Caller) -> None:
    async with caller.call("make", {"then": "flood"}) as answer:
        assert await answer.next() == ("", "x" * 1000)
        async with caller.call("echo", 1) as other:
            assert await other.rest() == [("reply", 1)]
    await until(lambda: MakeHandler.ended == ["cancelled"])


async def test_a_handler_that_does_not_end_is_cancelled_and_answered(caller: Caller) -> None:
    one, (name, error) = await caller.events(chunks=["one"], then="wait")
    assert (one, name, error["status"], error["retryable"]) == (("", "one"), "error", 50400, True)
    assert MakeHandler.ended == ["cancelled"]


@pytest.mark.parametrize(
    ("accept", "asks"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream", True),
        ("text/event-stream;q=0.5, */*", True),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("application/json, text/event-stream;q=0.9", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=x", False),
        ("text/event-streams", False),
    ],
)
def test_a_client_gets_events_only_if_it_asks_for_them(accept: str, asks: bool) -> None:
    assert asks_for_events(accept) is asks


class Connection:
    """A server's side of a request. The client reads and leaves as the test wants."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message.get("body", b"start"))

    def run(self, answer: Any) -> "asyncio.Task[None]":
        """Answer a request."""
        return asyncio.create_task(EventStream(self.receive, self.send).run(answer))


async def test_a_silence_is_broken_by_comments_that_keep_proxies_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.02)
    wire, go_on = Connection(), asyncio.Event()

    async def answer(send: SendChunk) -> bytes:
        await go_on.wait()
        await send(b"1")
        return b"{}"

    running = wire.run(answer)
    await until(lambda: wire.sent[:3] == [b"start", b": \n\n", b": \n\n"])
    go_on.set()
    await running
    assert wire.sent[-2:] == [b"data: 1\n\n", b"event: reply\ndata: {}\n\n"]


async def test_a_client_that_reads_nothing_for_a_while_cancels_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "READ_SECONDS", 0.02)
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_SECONDS", 0.2)  # after which it looks
    wire, ended = Connection(), []

    async def answer(send: SendChunk) -> bytes:
        try:
            await send(b"1")
            wire.reads.clear()
            await send(b"2")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return b"{}"

    async with asyncio.timeout(WAIT_SECONDS):
        await wire.run(answer)
    assert wire.sent == [b"start", b"data: 1\n\n"]
    assert ended == ["cancelled"]


async def test_a_place_stays_taken_until_a_handler_that_swallows_its_cancellation_has_ended() -> None:
    wire, go_on = Connection(), asyncio.Event()

    async def answer(_: SendChunk) -> bytes:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await go_on.wait()
        return b"{}"

    running = wire.run(answer)
    await asyncio.sleep(0)
    wire.left.set()
    await asyncio.wait({running}, timeout=0.05)
    assert not running.done()
    go_on.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await running
