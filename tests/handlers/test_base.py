"""Mistakes of an application's own handler, and what its client and others see of them."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict

from gateway.app import create_app
from gateway.testing import settings_for_tests
from handlers.base import MsgHandler
from handlers.errors import AppError, MessageError, NotFound
from handlers.registry import HANDLERS
from handlers.streaming import Reply
from schemas.base import Empty, Event, FieldError, Wire
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient


class Anything(BaseModel):
    """A model that checks nothing."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    value: Any = None


class AnyReply(Wire):
    """A reply that checks nothing."""

    value: Any = None


class Happened(Event):
    """An event that checks nothing."""

    type: ClassVar[str] = "shop.happened"

    value: Any = None


def handler(work: Callable[[MsgHandler[Any, Any]], Awaitable[Any]]) -> type[MsgHandler[Any, Any]]:
    """A handler that runs a function and answers with its result."""

    class Own(MsgHandler[Anything, Any]):
        schema = Anything

        async def handle(self, data: Anything) -> Any:
            return await work(self)

    return Own


def returning(make: Callable[[], Any]) -> type[MsgHandler[Any, Any]]:
    """A handler that returns something new each time."""

    async def work(_: MsgHandler[Any, Any]) -> Any:
        return make()

    return handler(work)


def raising(make: Callable[[], BaseException]) -> type[MsgHandler[Any, Any]]:
    """A handler that raises something new each time."""

    async def work(_: MsgHandler[Any, Any]) -> Any:
        raise make()

    return handler(work)


def circular() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["itself"] = found
    return found


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def deep_model() -> AnyReply:
    found = AnyReply()
    for _ in range(2000):
        found = AnyReply(value=found)
    return found


class Worded(MessageError):
    """An error without usable words."""

    def __str__(self) -> str:
        raise RuntimeError("no words for it")


class Unworded(Exception):
    """The same, of an unknown kind."""

    def __str__(self) -> str:
        raise RuntimeError("no words for it")


class Unmade(MessageError):
    """An error that cannot be made."""

    def __init__(self) -> None:
        raise KeyError("the constructor of the error")


class WithDetails(MessageError):
    """An error with details of the wrong kind."""

    details = ("an item", object())  # type: ignore[assignment]


class TooDetailed(NotFound):
    """An error with a detail that is no text."""

    def __init__(self) -> None:
        self.details = (FieldError(field="\ud800", message="x"),)


class WrongStatus(AppError):
    """An error with a wrong status."""

    def __init__(self) -> None:
        self.status = 999_999  # type: ignore[misc]


class Ended(BaseException):
    """What no library should raise, although some do."""


async def _cancelled_elsewhere(_: MsgHandler[Any, Any]) -> Any:
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    return await task


async def _never_awaited(_: MsgHandler[Any, Any]) -> Any:
    forgotten = asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(forgotten.close)
    return forgotten


async def _too_late(_: MsgHandler[Any, Any]) -> Any:
    async with asyncio.timeout(0.001):
        await asyncio.sleep(60)


async def _several(_: MsgHandler[Any, Any]) -> Any:
    async def fail() -> None:
        raise KeyError("one of several")

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        group.create_task(fail())


async def _says_that_it_is_wrong(_: MsgHandler[Any, Any]) -> Any:
    return FieldError.model_validate({"field": 7})


async def _closes_with_a_number(own: MsgHandler[Any, Any]) -> Any:
    own.session.close_after_reply(4000)  # type: ignore[arg-type]
    return Empty()


class Uncreatable(MsgHandler[Anything, Empty]):
    """Fails before it is there."""

    schema = Anything

    def __init__(self, *_: Any) -> None:
        raise ZeroDivisionError("in the constructor")

    async def handle(self, data: Anything) -> Empty:
        return Empty()


class NotAwaitable(MsgHandler[Anything, Empty]):
    """Forgot to be async."""

    schema = Anything

    def handle(self, data: Anything) -> Empty:  # type: ignore[override]
        return Empty()


class Generating(MsgHandler[Anything, Empty]):
    """Yields after the closing reply."""

    schema = Anything

    async def handle(self, data: Anything) -> Any:
        yield Reply(Empty())
        yield Reply(Empty())


def refusing(make: Callable[[], BaseException]) -> type[MsgHandler[Any, Any]]:
    """A handler with a schema that raises something odd."""

    class Schema(BaseModel):
        model_config = ConfigDict(extra="allow")

        def model_post_init(self, _: Any) -> None:
            raise make()

    class Own(MsgHandler[Schema, Empty]):
        schema = Schema

        async def handle(self, data: Schema) -> Empty:
            return Empty()

    return Own


BROKEN: dict[str, type[MsgHandler[Any, Any]]] = {
    "reply.object": returning(lambda: AnyReply(value=object())),
    "reply.bytes": returning(lambda: AnyReply(value=b"\xff")),
    "reply.surrogate": returning(lambda: AnyReply(value="\ud800")),
    "reply.surrogate-key": returning(lambda: AnyReply(value={"\ud800": 1})),
    "reply.none": returning(lambda: None),
    "reply.nan": returning(lambda: AnyReply(value=float("nan"))),
    "reply.infinity": returning(lambda: {"deep": [float("-inf")]}),
    "reply.deep": returning(lambda: AnyReply(value=nested(5000))),
    "reply.deep-model": returning(deep_model),
    "reply.circular": returning(circular),
    "reply.no-model": returning(object),
    "reply.class": returning(lambda: Empty),
    "reply.exception": returning(lambda: ValueError("returned")),
    "reply.coroutine": handler(_never_awaited),
    "reply.too-large": returning(lambda: AnyReply(value="x" * 300_000)),
    "raise.worded": raising(Worded),
    "raise.unworded": raising(Unworded),
    "raise.unmade": raising(Unmade),
    "raise.details": raising(WithDetails),
    "raise.too-detailed": raising(TooDetailed),
    "raise.status": raising(WrongStatus),
    "raise.surrogate": raising(lambda: NotFound("\udfff")),
    "raise.too-large": raising(lambda: NotFound("x" * 300_000)),
    "raise.recursion": raising(RecursionError),
    "raise.memory": raising(MemoryError),
    "raise.validation": handler(_says_that_it_is_wrong),
    "raise.group": handler(_several),
    "raise.base-group": raising(lambda: BaseExceptionGroup("several", [Ended(), KeyError(1)])),
    "raise.base": raising(Ended),
    "raise.exit": raising(lambda: SystemExit("a library that was meant for a command")),
    "raise.cancelled": raising(asyncio.CancelledError),
    "raise.stop": raising(StopAsyncIteration),
    "raise.timeout": handler(_too_late),
    "await.cancelled": handler(_cancelled_elsewhere),
    "close.number": handler(_closes_with_a_number),
    "constructor": Uncreatable,
    "not-async": NotAwaitable,
    "generator": Generating,
    "schema.key": refusing(lambda: KeyError("in the schema")),
    "schema.recursion": refusing(RecursionError),
    "schema.exit": refusing(SystemExit),
    "schema.base": refusing(Ended),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_whatever_a_handler_does_wrong_is_50000_and_logged_once_and_the_connection_lives(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with App(own_gateway(registry={**HANDLERS, **BROKEN})) as app, app.in_room("alice", "lobby") as client:
        async with app.in_room("bobby", "lobby") as other:
            await client.expect("room.joined")
            for type_ in BROKEN:
                caplog.clear()
                error = await client.refused(type_)
                assert (error["status"], error["name"], error["retryable"]) == (50000, "internal_error", False), type_
                assert client.welcome["connection"] in error["message"], type_
                records = [record for record in caplog.records if record.levelno >= logging.WARNING]
                assert [bool(record.exc_info) for record in records] == [True], (type_, records)
                await client.expect_nothing()
            # Without an id there is no reply that could fail; what is raised is told all the same.
            await client.send({"type": "reply.object"})
            await client.send({"type": "raise.base"})
            await client.expect("error", id=None, status=50000)
            await client.say("lobby", "still here")
            await other.expect("chat.message", text="still here")


class SoldOut(AppError):
    """No tickets."""

    status = 60001


class Closed(MessageError):
    """The same without the base that is for it."""

    status = 69999
    name = "shop_closed"
    retryable = True


class Busy(AppError):
    """An error that sets every field it can."""

    status = 60002
    retryable = True
    http_status = 503

    def __init__(self, seconds: int) -> None:
        self.retry_after_ms = seconds * 1000
        self.details = (FieldError(field="data.size", message="all of them"),)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"busy for {self.seconds} s"


async def test_an_error_of_ones_own_says_its_own_status_and_name(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    own = {
        "sold-out": raising(lambda: SoldOut("no tickets are left")),
        "closed": raising(lambda: Closed("until nine")),
        "busy": raising(lambda: Busy(3)),
        "plain": raising(lambda: AppError("just so")),
    }
    async with App(own_gateway(registry={**HANDLERS, **own})) as app, app.connect("alice") as client:

        async def told(type_: str) -> dict[str, Any]:
            error = await client.refused(type_)
            return {name: value for name, value in error.items() if name not in {"type", "id"}}

        assert await told("sold-out") == {
            "status": 60001,
            "name": "sold_out",
            "message": "no tickets are left",
            "retryable": False,
        }
        assert await told("closed") == {
            "status": 69999,
            "name": "shop_closed",
            "message": "until nine",
            "retryable": True,
        }
        assert await told("busy") == {
            "status": 60002,
            "name": "busy",
            "message": "busy for 3 s",
            "retryable": True,
            "retry_after_ms": 3000,
            "details": [{"field": "data.size", "message": "all of them"}],
        }
        assert (await told("plain"))["status"] == 60000
        await client.expect_nothing()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("status", [0, 200, 12345, 59999, 70000, "60001", None])
def test_a_status_that_the_protocol_does_not_have_is_refused_where_it_is_written(status: Any) -> None:
    with pytest.raises(TypeError, match="60000 to 69999"):
        type("Odd", (AppError,), {"status": status})


@pytest.mark.parametrize("kind", ['with"quote', "with\nline", "with space", "", "x" * 65, 7, "reply", "error", "é"])
def test_an_event_type_that_clients_could_not_read_is_refused_where_it_is_written(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"Odd\.type: expected"):
        type("Odd", (Event,), {"type": kind, "__module__": __name__, "__annotations__": {"type": ClassVar[str]}})


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"": Uncreatable}, "1 to 64 characters"),
        ({7: Uncreatable}, "1 to 64 characters"),
        ({"x": Empty}, "subclass of MsgHandler"),
        ({"x": print}, "subclass of MsgHandler"),
        ({"x": MsgHandler}, "subclass of MsgHandler"),
        ({"x": type("NoSchema", (NotAwaitable,), {"schema": None})}, "`schema` of .*NoSchema"),
    ],
)
def test_a_table_with_something_else_in_it_is_refused_where_it_is_written(
    table: Any, told: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=told):
        create_app(settings_for_tests(tmp_path), registry={**HANDLERS, **table})


UNSENDABLE: dict[str, Callable[[], Any]] = {
    "object": object,
    "bytes": lambda: b"\xff",
    "surrogate": lambda: "\ud800",
    "nan": lambda: float("nan"),
    "infinity": lambda: [{"x": float("inf")}],
    "circular": circular,
    "deep": lambda: nested(5000),
    "too-large": lambda: "x" * 300_000,
}


async def _says_nothing_half(client: ChatClient, listeners: list[ChatClient], type_: str, **data: Any) -> None:
    error = await client.refused(type_, **data)
    assert error["status"] == 50000, (type_, data)
    for listener in (client, *listeners):
        await listener.expect_nothing()


async def test_an_event_that_cannot_be_sent_is_the_senders_error_and_no_listener_hears_half_of_it(
    own_gateway: OwnGateway,
) -> None:
    async def tell_here(own: MsgHandler[Any, Any]) -> Any:
        own.session.send_event(Happened(value=UNSENDABLE[own.data["value"]]()))  # type: ignore[index]
        return Empty()

    async def tell_room(own: MsgHandler[Any, Any]) -> Any:
        await own.session.rooms.publish("lobby", Happened(value=UNSENDABLE[own.data["value"]]()))  # type: ignore[index]
        return Empty()

    async def tell_all(own: MsgHandler[Any, Any]) -> Any:
        await own.session.publish_to_all(Happened(value=UNSENDABLE[own.data["value"]]()))  # type: ignore[index]
        return Empty()

    async def send(own: MsgHandler[Any, Any]) -> Any:
        body = UNSENDABLE[own.data["value"]]()  # type: ignore[index]
        return await own.session.messages.send("lobby", text=None, body=body, reply_to=None, client_id=None)

    own = {"here": handler(tell_here), "room": handler(tell_room), "all": handler(tell_all), "send": handler(send)}
    async with App(own_gateway(registry={**HANDLERS, **own})) as app:
        async with app.in_room("alice", "lobby") as ann, app.in_room("bobby", "lobby") as ben:
            await ann.expect("room.joined")
            for value in UNSENDABLE:
                for type_ in own:
                    await _says_nothing_half(ann, [ben], type_, value=value)
            # The log has no trace of it, and continues without a gap.
            assert (await ann.say("lobby", "hello"))["offset"] == 1
            await ben.expect("chat.message", text="hello", offset=1)
            assert len((await ben.ask("chat.history", room="lobby"))["messages"]) == 1


async def test_a_text_that_no_client_may_send_is_the_handlers_error_and_breaks_no_others(
    own_gateway: OwnGateway,
) -> None:
    texts: dict[str, Any] = {"surrogate": "\ud800", "long": "x" * 4001, "number": 7, "none": None}

    async def send(own: MsgHandler[Any, Any]) -> Any:
        text = texts[own.data["value"]]  # type: ignore[index]
        return await own.session.messages.send("lobby", text=text, body=None, reply_to=None, client_id=None)

    async with App(own_gateway(registry={**HANDLERS, "send": handler(send)})) as app:
        async with app.in_room("alice", "lobby") as ann, app.in_room("bobby", "lobby") as ben:
            await ann.expect("room.joined")
            for value in texts:
                await _says_nothing_half(ann, [ben], "send", value=value)
            await ann.say("lobby", "hello")
            await ben.expect("chat.message", text="hello")


async def test_what_is_said_by_a_handler_is_heard_as_it_will_be_read(own_gateway: OwnGateway) -> None:
    body = {1: ("a", "b"), "at": {3}}

    async def send(own: MsgHandler[Any, Any]) -> Any:
        return await own.session.messages.send("lobby", text=None, body=body, reply_to=None, client_id=None)

    async with App(own_gateway(registry={**HANDLERS, "send": handler(send)})) as app:
        async with app.in_room("alice", "lobby") as ann:
            said = (await ann.ask("send"))["message"]
            assert said["body"] == {"1": ["a", "b"], "at": [3]}
            assert await ann.expect("chat.message") == said
            assert (await ann.ask("chat.history", room="lobby"))["messages"] == [said]


async def test_a_handler_can_look_at_the_message_that_it_has_sent(own_gateway: OwnGateway) -> None:
    async def send(own: MsgHandler[Any, Any]) -> Any:
        sent = await own.session.messages.send("lobby", text="hello", body=None, reply_to=None, client_id="once")
        assert (sent.message.text, sent.message.client_id) == ("hello", "once")
        return sent

    async with App(own_gateway(registry={**HANDLERS, "send": handler(send)})) as app:
        async with app.in_room("alice", "lobby") as ann:
            said = (await ann.ask("send"))["message"]
            assert await ann.expect("chat.message") == said
            assert await ann.ask("send") == {"message": said, "duplicate": True}
            await ann.expect_nothing()


async def test_a_reply_that_is_json_is_sent_whatever_it_is_made_of(own_gateway: OwnGateway) -> None:
    replies: dict[str, tuple[Any, Any]] = {
        "dict": ({"a": None, "b": [1]}, {"a": None, "b": [1]}),
        "words": (AnyReply(value="NaN and Infinity"), {"value": "NaN and Infinity"}),
        "big": (AnyReply(value=10**100), {"value": 10**100}),
        "large": (AnyReply(value="x" * 250_000), {"value": "x" * 250_000}),
    }

    def always(reply: Any) -> type[MsgHandler[Any, Any]]:
        return returning(lambda: reply)

    own = {name: always(reply) for name, (reply, _) in replies.items()}
    async with App(own_gateway(registry={**HANDLERS, **own})) as app, app.connect("alice") as client:
        for name, (_, data) in replies.items():
            assert await client.ask(name) == data


async def test_a_handler_that_is_cancelled_with_its_connection_ends(own_gateway: OwnGateway) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def wait(_: MsgHandler[Any, Any]) -> Any:
        loop.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(ended.set)
            raise

    gateway = own_gateway(registry={**HANDLERS, "wait": handler(wait)})
    async with App(gateway) as app, app.connect("alice") as client:
        await client.start("wait")
        await asyncio.wait_for(begun.wait(), 5)

        async def cancel() -> None:
            [task] = [task for task in asyncio.all_tasks() if "run_asgi" in repr(task.get_coro())]
            task.cancel()

        await gateway.run(cancel())
        await asyncio.wait_for(ended.wait(), 5)


REFUSED: list[dict[str, Any]] = [
    {"type": "room.nowhere"},
    {"type": "ping", "data": 7},
    {"type": "room.create", "data": {"room": "lobby"}},
    {"type": "chat.edit", "data": {"room": "lobby", "message_id": "a.1", "text": "x"}},
    {"type": "room.kick", "data": {"room": "lobby", "user": "nobody"}},
]


async def test_a_refused_message_leaves_nothing_for_the_garbage_collector(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(rooms_open=True)) as app, app.in_room("alice", "lobby") as client:

        async def ask_all(times: int) -> None:
            for number in range(times):
                for message in REFUSED:
                    await client.send(message | {"id": number})
                    await client.expect("error", id=number)

        await ask_all(2)
        gc.collect()
        gc.disable()
        try:
            gc.set_debug(gc.DEBUG_SAVEALL)
            await ask_all(20)
            gc.collect()
            kept = [each for each in gc.garbage if isinstance(each, MessageError)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert kept == []
