"""`cancel`, and the other ends of a message in progress: its client's, its time's, and a handler that does not heed."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.chat import unordered
from gateway.testing import Gateway, running_gateway, settings_for_tests
from handlers.base import MsgHandler
from handlers.registry import HANDLERS
from handlers.streaming import Chunk
from schemas.base import Empty, Wire
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.waiting import until

pytestmark = pytest.mark.server

MOST = 2
"""The messages in progress that a connection of these tests may have."""


class At(Wire):
    """The gate to wait at."""

    gate: str


@dataclass
class Gates:
    """The gates that handlers wait at, and what has become of the handlers."""

    gates: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, gate: str) -> list[str]:
        return [step for name, step in self.steps if name == gate]


class Waiting(MsgHandler[At, Empty, Gates]):
    """Waits at a gate, and notes its cancellation."""

    schema = At
    ordered = False

    async def handle(self, data: At) -> Empty:
        await self.wait(data.gate)
        return Empty()

    async def wait(self, gate: str) -> None:
        self.note(gate, "begun")
        try:
            await self.session.state.gates[gate].wait()
        except asyncio.CancelledError:
            self.note(gate, "cancelled")
            raise

    def note(self, gate: str, step: str) -> None:
        self.session.state.steps.append((gate, step))


class InOrder(Waiting):
    """The same, in order."""

    ordered = True


class Streaming(MsgHandler[At, Empty, Gates]):
    """Streams before a gate and behind it."""

    schema = At

    async def handle(self, data: At) -> AsyncIterator[Chunk]:
        steps = self.session.state.steps
        try:
            yield "before"
            await self.session.state.gates[data.gate].wait()
            yield "behind"
        except asyncio.CancelledError:
            steps.append((data.gate, "cancelled"))
            raise
        finally:
            await asyncio.sleep(0)
            steps.append((data.gate, "cleaned up"))


class Rushing(Streaming):
    """Streams without a wait, and notes its cancellation, which finds it at a `yield`."""

    async def handle(self, data: At) -> AsyncIterator[Chunk]:
        try:
            while True:
                yield ["x" * 1000]
        except asyncio.CancelledError:
            self.session.state.steps.append((data.gate, "cancelled"))
            if data.gate.endswith("on"):
                yield "goes on"
            if data.gate.endswith("raise"):
                raise
        finally:
            self.session.state.steps.append((data.gate, "cleaned up"))


class Swallowing(Streaming):
    """Goes on to stream after its cancellation."""

    async def handle(self, data: At) -> AsyncIterator[Chunk]:
        steps = self.session.state.steps
        try:
            yield "before"
            try:
                await self.session.state.gates[data.gate].wait()
            except asyncio.CancelledError:
                steps.append((data.gate, "cancelled"))
            while True:
                yield "still here"
        finally:
            steps.append((data.gate, "cleaned up"))


class Deaf(Waiting):
    """Heeds no cancellation."""

    async def wait(self, gate: str) -> None:
        while not self.session.state.gates[gate].is_set():
            try:
                await super().wait(gate)
            except asyncio.CancelledError:
                continue


class Failing(Waiting):
    """Fails when it is cancelled."""

    async def wait(self, gate: str) -> None:
        try:
            await super().wait(gate)
        finally:
            raise ZeroDivisionError


class Tidying(Waiting):
    """Needs some time after its cancellation, as a commit does."""

    async def wait(self, gate: str) -> None:
        try:
            await super().wait(gate)
        finally:
            await asyncio.sleep(0.5)
            self.note(gate, "tidied")


class Lingering(MsgHandler[At, Empty, Gates]):
    """Never ends its clean-up."""

    schema = At

    async def handle(self, data: At) -> AsyncIterator[Chunk]:
        try:
            yield "before"
            await self.session.state.gates[data.gate].wait()
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()


class Stubborn(Waiting):
    """Ends only by force, and answers even then."""

    async def wait(self, gate: str) -> None:
        try:
            while True:
                with suppress(asyncio.CancelledError):
                    await super().wait(gate)
        except BaseException:
            self.note(gate, "stopped")


class Endless(MsgHandler[At, Empty, Gates]):
    """Never ends, and streams all the time."""

    schema = At

    async def handle(self, data: At) -> AsyncIterator[Chunk]:
        try:
            while True:
                yield data.gate
                await asyncio.sleep(0.2)
        finally:
            self.session.state.steps.append((data.gate, "cleaned up"))


OWN: dict[str, type[MsgHandler[Any, Any, Any]]] = {
    "wait": Waiting,
    "wait.in_order": InOrder,
    "stream": Streaming,
    "rush": Rushing,
    "swallow": Swallowing,
    "deaf": Deaf,
    "fail": Failing,
    "tidy": Tidying,
    "linger": Lingering,
    "stubborn": Stubborn,
    "endless": Endless,
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with these handlers, for all tests of this file."""
    settings = settings_for_tests(tmp_path_factory.mktemp("cancel"), max_calls_per_connection=MOST)
    with running_gateway(settings, registry={**HANDLERS, **OWN}, state=Gates()) as running:
        yield running


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let handlers clean up for less time than in production."""
    monkeypatch.setattr(unordered, "CANCEL_SECONDS", 0.3)


@pytest.fixture
def gates(gateway: Gateway) -> Gates:
    gates: Gates = gateway.state.app_state  # type: ignore[assignment]
    return gates


@pytest.fixture
async def client(app: App, alice: str) -> AsyncIterator[ChatClient]:
    """A connection of one user."""
    async with app.connect(alice) as client:
        yield client


async def begin(client: ChatClient, gates: Gates, type: str, gate: str, id: int | str = "call") -> None:
    """Send a message, and wait until its handler has begun."""
    await client.send({"type": type, "id": id, "data": {"gate": gate}, "stream": True})
    if issubclass(OWN[type], Waiting):
        await until(lambda: "begun" in gates.of(gate))
    else:
        await client.expect("chunk", id=id, seq=1)


async def cancel(client: ChatClient, id: int | str = "call") -> None:
    """Cancel a message in progress: its own answer comes first."""
    number = await client.start("cancel", id=id)
    error = await client.expect("error", id=id, status=49900, name="cancelled", retryable=False)
    assert error["message"] == "you have cancelled this message; part of its work may be done"
    assert await client.expect("reply", id=number) == {}


def in_progress(gateway: Gateway) -> list[Any]:
    """Return the messages in progress of the one connection."""
    (session,) = gateway.state.connections.all()
    return list(session._unordered._in_progress.values())  # type: ignore[attr-defined]


async def open_gate(gateway: Gateway, gates: Gates, name: str) -> None:
    gateway.loop.call_soon_threadsafe(gates.gates[name].set)


@pytest.mark.parametrize("type", ["wait", "stream"])
async def test_a_client_cancels_a_message_and_its_handler_sees_it(
    client: ChatClient, gates: Gates, type: str, room: str
) -> None:
    for _ in range(MOST + 1):  # the place and the id are free again
        gates.steps.clear()
        await begin(client, gates, type, room)
        await cancel(client)
        await until(lambda: "cancelled" in gates.of(room))
        if type == "stream":
            await until(lambda: gates.of(room) == ["cancelled", "cleaned up"])
        await client.expect_nothing()


@pytest.mark.parametrize("then", ["raise", "return", "go on"])
async def test_a_handler_sees_its_cancellation_at_a_yield_too(
    gateway: Gateway, client: ChatClient, gates: Gates, room: str, then: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = f"{room} {then}"
    client.ws.transport.pause_reading()
    await client.send({"type": "rush", "id": "call", "data": {"gate": gate}, "stream": True})
    (session,) = gateway.state.connections.all()
    await until(lambda: session.ws.outbox._room is not None)  # type: ignore[attr-defined] # it waits for room
    number = await client.start("cancel", id="call")
    await until(lambda: gates.of(gate) == ["cancelled", "cleaned up"])
    client.ws.transport.resume_reading()
    await client.until(type="error", id="call", status=49900)
    await client.expect("reply", id=number)
    await client.expect_nothing()
    assert not caplog.messages


async def test_a_handler_sees_at_its_yield_that_its_client_does_not_read(
    gateway: Gateway,
    gates: Gates,
    app: App,
    alice: str,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("gateway.transport.outbox.ROOM_SECONDS", 0.3)
    async with app.connect(alice) as client:
        client.ws.transport.pause_reading()
        await client.send({"type": "rush", "id": "call", "data": {"gate": f"{room} raise"}, "stream": True})
        await until(lambda: gateway.state.connections.count == 0)
        client.ws.transport.abort()
    assert gates.of(f"{room} raise") == ["cancelled", "cleaned up"]
    assert not caplog.messages


async def test_a_message_is_cancelled_before_its_handler_has_begun(client: ChatClient, room: str) -> None:
    for number in range(MOST):
        await client.send({"type": "wait", "id": number, "data": {"gate": room}})
        await client.send({"type": "cancel", "id": "c", "data": {"id": number}})
    for number in range(MOST):
        await client.expect("error", id=number, status=49900)
        await client.expect("reply", id="c")
    await client.expect_nothing()


async def test_what_is_not_in_progress_here_cannot_be_cancelled(
    gateway: Gateway, gates: Gates, client: ChatClient, app: App, alice: str, room: str
) -> None:
    unknown = await client.refused("cancel", id="unknown")
    assert (unknown["status"], unknown["retryable"]) == (40400, False)
    await begin(client, gates, "stream", room)
    async with app.connect(alice) as other:  # another connection of the same user
        assert (await other.refused("cancel", id="call"))["status"] == 40400
    for id in ("unknown", 1, "1", "Call"):
        assert (await client.refused("cancel", id=id))["status"] == 40400
    await open_gate(gateway, gates, room)
    await client.expect("chunk", seq=2, data="behind")
    await client.expect("reply", id="call")
    finished = await client.refused("cancel", id="call")
    assert finished["status"] == 40400


async def test_an_ordered_message_cannot_be_cancelled(
    gateway: Gateway, gates: Gates, client: ChatClient, room: str
) -> None:
    await begin(client, gates, "wait.in_order", room)
    number = await client.start("cancel", id="call")
    await open_gate(gateway, gates, room)
    await client.expect("reply", id="call")
    await client.expect("error", id=number, status=40400)
    assert gates.of(room) == ["begun"]


@pytest.mark.parametrize("data", [{}, {"id": None}, {"id": True}, {"id": ""}, {"id": 1.5}, {"id": 1, "all": True}, []])
async def test_a_wrong_cancel_is_refused(client: ChatClient, data: object) -> None:
    await client.send({"type": "cancel", "id": 1, "data": data})
    await client.expect("error", id=1, status=42200)


async def test_a_cancelled_message_with_another_id_leaves_the_rest_alone(
    gateway: Gateway, gates: Gates, client: ChatClient, room: str
) -> None:
    await begin(client, gates, "stream", room, id=7)
    await begin(client, gates, "stream", f"{room} 2", id="7")
    await cancel(client, id=7)
    await open_gate(gateway, gates, f"{room} 2")
    await client.expect("chunk", id="7", seq=2)
    await client.expect("reply", id="7")


async def test_nothing_of_a_handler_that_goes_on_comes_after_its_cancellation(
    client: ChatClient, gates: Gates, room: str
) -> None:
    await begin(client, gates, "swallow", room)
    await cancel(client)
    await until(lambda: gates.of(room) == ["cancelled", "cleaned up"])
    await client.expect_nothing()


async def test_a_handler_that_fails_at_its_cancellation_is_logged_and_answers_nothing(
    client: ChatClient, gates: Gates, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    await begin(client, gates, "fail", room)
    await cancel(client)
    await until(lambda: "a handler failed" in caplog.messages)
    await client.expect_nothing()


async def test_a_handler_that_heeds_no_cancellation_keeps_its_place(
    gateway: Gateway, gates: Gates, client: ChatClient, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unordered, "CANCEL_SECONDS", 20)
    for _ in range(MOST):
        gates.steps.clear()
        await begin(client, gates, "deaf", room)
        await cancel(client)
    assert (await client.refused("wait", gate=room))["status"] == 42900
    await open_gate(gateway, gates, room)
    await until(lambda: not in_progress(gateway))
    await client.ask("wait", gate=room)


@pytest.mark.parametrize("type", ["deaf", "linger", "stubborn"])
async def test_a_handler_that_heeds_no_cancellation_is_stopped_by_force_and_frees_its_place(
    gateway: Gateway, gates: Gates, client: ChatClient, room: str, type: str, caplog: pytest.LogCaptureFixture
) -> None:
    for id in range(MOST):
        gates.steps.clear()
        await begin(client, gates, type, room, id)
        await cancel(client, id)
    await until(lambda: not in_progress(gateway))
    assert Counter(caplog.messages) == {
        f"{OWN[type].__name__} has swallowed its cancellation, and was stopped by force": MOST
    }
    await open_gate(gateway, gates, room)
    await client.ask("wait", gate=room)
    await client.expect_nothing()


async def test_the_id_of_a_cancelled_message_belongs_to_the_next_one_at_once(
    gateway: Gateway, gates: Gates, client: ChatClient, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unordered, "CANCEL_SECONDS", 20)
    await begin(client, gates, "tidy", room)
    await cancel(client)
    await begin(client, gates, "stream", room)
    await until(lambda: "tidied" in gates.of(room))
    await until(lambda: len(in_progress(gateway)) == 1)
    await client.send({"type": "wait", "id": "call", "data": {"gate": room}})
    await client.expect("error", id="call", status=40900)
    await cancel(client)
    await client.expect_nothing()


@pytest.mark.parametrize("type", ["deaf", "linger"])
async def test_a_handler_that_heeds_no_cancellation_holds_up_no_end(
    gateway: Gateway, gates: Gates, app: App, alice: str, room: str, type: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with app.connect(alice) as client:
        await begin(client, gates, type, room)
    await until(lambda: gateway.state.connections.count == 0)
    line = f"{OWN[type].__name__} has swallowed its cancellation, and was stopped by force"
    await until(lambda: line in caplog.messages)
    assert caplog.messages == [line]


async def test_after_a_bye_a_cancelled_message_is_not_waited_for(gates: Gates, app: App, alice: str, room: str) -> None:
    async with app.connect(alice) as client:
        await begin(client, gates, "deaf", room)
        await cancel(client)
        await client.ask("bye")
        await client.expect("bye", code=1000)
        await client.expect_close(1000, "bye")


async def test_a_client_that_goes_cancels_its_stream(gates: Gates, app: App, alice: str, room: str) -> None:
    async with app.connect(alice) as client:
        await begin(client, gates, "stream", room)
        await begin(client, gates, "endless", f"{room} 2", id=2)
    await until(lambda: gates.of(room) == ["cancelled", "cleaned up"])
    await until(lambda: gates.of(f"{room} 2") == ["cleaned up"])


async def test_a_handler_may_clean_up_when_its_client_is_gone(
    gates: Gates, app: App, alice: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unordered, "CANCEL_SECONDS", 20)
    async with app.connect(alice) as client:
        await begin(client, gates, "tidy", room)
    await until(lambda: gates.of(room) == ["begun", "cancelled", "tidied"])


async def test_over_http_there_is_nothing_to_cancel(app: App, alice: str) -> None:
    answer = await app.ask("POST", "/call/cancel", await app.token(alice), json={"id": 1})
    assert answer.status_code == 404


async def test_a_message_that_takes_too_long_is_ended(own_gateway: OwnGateway, alice: str, room: str) -> None:
    gates = Gates()
    own = own_gateway(registry={**HANDLERS, **OWN}, state=gates, max_call_seconds=0.5)
    async with App(own) as app, app.connect(alice) as client:
        await begin(client, gates, "endless", room)
        timed_out = await client.until(type="error", id="call", status=50400, retryable=True)
        assert timed_out["message"] == "this message was ended after 0.5 seconds; part of its work may be done"
        await until(lambda: gates.of(room) == ["cleaned up"])
        await client.expect_nothing()
        await begin(client, gates, "deaf", f"{room} 2")
        await client.start("bye")
        answers = [await client.next(), await client.next()]  # on a busy machine in any order
        assert {answer["status"] for answer in answers} == {20000, 50400}
        await client.expect("bye", code=1000)  # without a wait for the handler
        for type in ("endless", "deaf"):
            answer = await app.ask("POST", f"/call/{type}", await app.token(alice), json={"gate": room})
            assert (answer.status_code, answer.json()["status"]) == (504, 50400)
