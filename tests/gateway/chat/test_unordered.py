"""Unordered messages: no later message waits for them, and each is answered once."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from gateway.chat.unordered import Bounds, UnorderedMessages
from gateway.core import costs
from gateway.core.timers import TimerWheel
from gateway.testing import FakeSession, Gateway
from handlers.base import MsgHandler
from handlers.errors import NotFound
from handlers.registry import HANDLERS
from handlers.system import PingHandler
from schemas.base import Wire
from schemas.codes import Close
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.waiting import until

MAX_UNORDERED = 8
"""The default of `GATEWAY_MAX_CALLS_PER_CONNECTION`."""


class Wait(Wire):
    """What to do once a gate opens."""

    gate: str
    then: str = "reply"


class Waited(Wire):
    """The gate that has opened."""

    gate: str
    with_text: str = ""


@dataclass
class Gates:
    """The gates that handlers wait at, and what has become of the handlers."""

    gates: defaultdict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    waiting: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)


class WaitHandler(MsgHandler[Wait, Waited, Gates]):
    """Waits for a gate, then does as its message says."""

    schema = Wait
    ordered = False

    async def handle(self, data: Wait) -> Waited:
        gates = self.session.state
        gates.waiting.append(data.gate)
        try:
            await gates.gates[data.gate].wait()
        except asyncio.CancelledError:
            gates.cancelled.append(data.gate)
            raise
        match data.then:
            case "refuse":
                raise NotFound("there is no such thing")
            case "fail":
                raise ZeroDivisionError
            case "send":
                await self.session.messages.send(data.gate, text="from it", body=None, reply_to=None, client_id=None)
            case "join":
                await self.session.rooms.join(data.gate)
            case "close":
                self.session.close_after_reply(Close.BYE)
            case "charge":
                self.session.charge(1.5)
            case "long":
                return Waited(gate=data.gate, with_text="x" * 300_000)
        return Waited(gate=data.gate)


class OrderedWait(WaitHandler):
    """The same, in order."""

    ordered = True


@asynccontextmanager
async def waiting_gateway(own_gateway: OwnGateway, **options: Any) -> AsyncIterator[tuple[App, Gates]]:
    gates = Gates()
    handlers = {**HANDLERS, "wait": WaitHandler, "wait.in_order": OrderedWait}
    async with App(own_gateway(registry=handlers, state=gates, **options)) as app:
        yield app, gates


async def open_gate(gateway: Gateway, gates: Gates, name: str) -> None:
    gateway.loop.call_soon_threadsafe(gates.gates[name].set)


async def wait_at(client: ChatClient, gates: Gates, name: str, **more: Any) -> int:
    """Send a message that waits at a gate, and return its id once it waits."""
    number = await client.start("wait", gate=name, **more)
    await until(lambda: name in gates.waiting)
    return number


async def test_later_messages_do_not_wait_and_answers_come_when_they_are_ready(
    own_gateway: OwnGateway, alice: str
) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        first = await wait_at(client, gates, "first")
        second = await wait_at(client, gates, "second")
        await client.ask("ping")
        await open_gate(app.gateway, gates, "second")
        await client.expect("reply", id=second, gate="second")
        await client.ask("ping")
        await open_gate(app.gateway, gates, "first")
        await client.expect("reply", id=first, gate="first")


async def test_a_message_with_the_id_of_one_in_progress_is_refused_and_the_first_goes_on(
    own_gateway: OwnGateway, alice: str
) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        for id in (7, "7"):
            await client.send({"type": "wait", "id": id, "data": {"gate": f"first {id!r}"}})
            await client.send({"type": "wait", "id": id, "data": {"gate": "second"}})
            await client.expect("error", id=id, status=40900, retryable=False)
        for id in (7, "7"):
            await open_gate(app.gateway, gates, f"first {id!r}")
            await client.expect("reply", id=id, gate=f"first {id!r}")
            await open_gate(app.gateway, gates, "second")
            await client.send({"type": "wait", "id": id, "data": {"gate": "second"}})
            await client.expect("reply", id=id, gate="second")


async def test_errors_and_faults_answer_their_own_message(own_gateway: OwnGateway, alice: str) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        for then, status in (("refuse", 40400), ("fail", 50000), ("long", 50000)):
            number = await wait_at(client, gates, then, then=then)
            await open_gate(app.gateway, gates, then)
            await client.expect("error", id=number, status=status)
        await client.refused("wait", nothing=1)
        silent = {"type": "wait", "data": {"gate": "refuse", "then": "refuse"}}
        await client.send(silent)
        await client.expect("error", id=None, status=40400)
        await client.send({"type": "wait", "data": {"gate": "refuse"}})
        await client.expect_nothing()


async def test_a_ninth_message_that_would_wait_is_refused_and_all_else_goes_on(
    own_gateway: OwnGateway, alice: str
) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        for number in range(MAX_UNORDERED):
            await client.send({"type": "wait", "id": number, "data": {"gate": "door"}})
        refused = await client.refused("wait", gate="door")
        assert (refused["status"], refused["retryable"]) == (42900, True)
        assert refused["retry_after_ms"] > 0
        await client.ask("ping")
        async with app.connect(alice) as other:
            await wait_at(other, gates, "other")
            await open_gate(app.gateway, gates, "other")
            await other.expect("reply", gate="other")
        await open_gate(app.gateway, gates, "door")
        answered = {(await client.next())["id"] for _ in range(MAX_UNORDERED)}
        assert answered == set(range(MAX_UNORDERED))
        await client.ask("wait", gate="door")


async def test_an_answer_does_not_wait_for_an_ordered_message_that_is_being_handled(
    own_gateway: OwnGateway, alice: str
) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        unordered = await wait_at(client, gates, "quick", then="refuse")
        ordered = await client.start("wait.in_order", gate="slow")
        await until(lambda: "slow" in gates.waiting)
        await open_gate(app.gateway, gates, "quick")
        await client.expect("error", id=unordered, status=40400)
        await open_gate(app.gateway, gates, "slow")
        await client.expect("reply", id=ordered)


async def test_the_events_of_an_ordered_message_still_come_after_its_own_reply(
    own_gateway: OwnGateway, alice: str, room: str
) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        await client.ask("room.join", room=room)
        unordered = await wait_at(client, gates, "quick")
        ordered = await client.start("wait.in_order", gate=room, then="send")
        await until(lambda: room in gates.waiting)
        await open_gate(app.gateway, gates, "quick")
        await client.expect("reply", id=unordered)
        await open_gate(app.gateway, gates, room)
        await client.expect("reply", id=ordered)
        await client.expect("chat.message", text="from it")


async def test_an_unordered_message_may_send_and_join_and_events_flow_on(
    own_gateway: OwnGateway, alice: str, bob: str, room: str
) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client, app.connect(bob) as other:
        await other.ask("room.join", room=room)
        number = await wait_at(client, gates, room, then="join")
        await open_gate(app.gateway, gates, room)
        await client.expect("reply", id=number)
        await other.until(type="room.joined")
        await other.ask("chat.send", room=room, text="hello")
        await client.expect("chat.message", text="hello")  # without a message of its own in between
        number = await client.start("wait", gate=room, then="send")
        frames = [await client.next(), await client.next()]
        assert {frame["type"] for frame in frames} == {"reply", "chat.message"}


async def test_the_end_of_the_connection_ends_what_waits(own_gateway: OwnGateway, alice: str) -> None:
    async with waiting_gateway(own_gateway) as (app, gates):
        async with app.connect(alice) as client:
            await wait_at(client, gates, "door")
            await wait_at(client, gates, "other door")
        await until(lambda: sorted(gates.cancelled) == ["door", "other door"])
        await until(lambda: app.gateway.state.connections.count == 0)


async def test_bye_waits_for_the_answers_and_handles_nothing_more(own_gateway: OwnGateway, alice: str) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        number = await wait_at(client, gates, "door")
        await client.ask("bye")
        await client.start("ping")
        await open_gate(app.gateway, gates, "door")
        await client.expect("reply", id=number)
        await client.expect("bye", code=1000)
        await client.expect_close(1000, "bye")


async def test_an_unordered_message_closes_after_its_own_reply(own_gateway: OwnGateway, alice: str) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        other = await wait_at(client, gates, "other")
        number = await wait_at(client, gates, "door", then="close")
        await open_gate(app.gateway, gates, "door")
        await client.expect("reply", id=number)
        await open_gate(app.gateway, gates, "other")
        await client.expect("reply", id=other)
        await client.expect("bye", code=1000)
        await client.expect_close(1000, "bye")


async def test_a_drain_waits_for_the_answers_within_its_seconds(own_gateway: OwnGateway, alice: str, bob: str) -> None:
    async with waiting_gateway(own_gateway) as (app, gates):
        gateway = app.gateway
        async with app.connect(alice) as client, app.connect(bob) as stuck:
            number = await wait_at(client, gates, "door")
            await wait_at(stuck, gates, "never")
            drained = asyncio.create_task(gateway.run(gateway.state.connections.drain(1)))
            await until(lambda: gateway.state.connections._draining)
            await open_gate(gateway, gates, "door")
            await client.expect("reply", id=number)
            await client.expect("bye", code=1012)
            await client.expect_close(1012, "draining")
            await drained
            with pytest.raises(ConnectionClosed):
                await stuck.next()
            await until(lambda: gates.cancelled == ["never"])


async def test_a_token_that_ends_closes_at_once(own_gateway: OwnGateway, alice: str) -> None:
    async with waiting_gateway(own_gateway) as (app, gates), app.connect(alice) as client:
        await wait_at(client, gates, "door")
        await client.ask("bye")
        session = next(iter(app.gateway.state.connections.all()))
        app.gateway.loop.call_soon_threadsafe(session.close, Close.TOKEN_REVOKED)
        await client.expect("bye", code=4411)
        await client.expect_close(4411, "token_revoked")
        await until(lambda: gates.cancelled == ["door"])


async def test_a_message_that_waits_pays_for_itself(own_gateway: OwnGateway, alice: str) -> None:
    burst = 4
    async with waiting_gateway(own_gateway, message_rate=0.001, message_burst=burst) as (app, gates):
        async with app.connect(alice) as client:
            number = await wait_at(client, gates, "door", then="charge")
            await client.ask("ping")
            await open_gate(app.gateway, gates, "door")
            await client.expect("reply", id=number)
            # Two of the four tokens, and the half beyond what the message included.
            assert costs.INCLUDED == 1
            await client.ask("ping")
            assert (await client.refused("ping"))["status"] == 42900


async def test_over_http_an_unordered_message_is_answered_as_any_other(own_gateway: OwnGateway, alice: str) -> None:
    async with waiting_gateway(own_gateway) as (app, gates):
        await open_gate(app.gateway, gates, "door")
        token = await app.gateway.token(alice)
        headers = {"authorization": f"Bearer {token}"}
        answer = await app.http.post("/call/wait", json={"gate": "door"}, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"gate": "door", "with_text": ""})


@pytest.mark.parametrize("frames", ["text", "raw"])
async def test_a_burst_of_unordered_messages_is_bounded_before_the_first_task_runs(
    own_gateway: OwnGateway, alice: str, frames: str
) -> None:
    options = {} if frames == "raw" else {"options": {"ws": "wsproto"}}
    async with waiting_gateway(own_gateway, **options) as (app, gates), app.connect(alice) as client:
        for number in range(30):
            await client.send({"type": "wait", "id": number, "data": {"gate": "door"}})
        refused = [await client.expect("error", status=42900) for _ in range(30 - MAX_UNORDERED)]
        assert len(gates.waiting) == MAX_UNORDERED
        await open_gate(app.gateway, gates, "door")
        answered = {(await client.next())["id"] for _ in range(MAX_UNORDERED)}
        assert answered | {each["id"] for each in refused} == set(range(30))


async def test_without_bounds_any_number_of_messages_may_be_in_progress() -> None:
    door = asyncio.Event()
    ended: list[int | str | None] = []

    async def answer() -> None:
        await door.wait()

    timers = TimerWheel()
    messages = UnorderedMessages(Bounds(0, 0, timers), lambda *_: None, lambda message, _: ended.append(message.id))
    for number in range(100):
        messages.start(PingHandler(FakeSession(), number, None), answer)
    assert messages.has_unanswered
    door.set()
    await until(lambda: len(ended) == 100)
    assert not messages.has_unanswered
    assert timers._handle is None
