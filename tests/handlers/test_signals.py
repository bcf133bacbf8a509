"""Signals: what goes to a room, and is never stored."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.bus.base import BusEvent
from gateway.bus.memory import MemoryBus
from gateway.testing import FakeSession
from handlers.rooms import SignalHandler
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame

Publish = Callable[[MemoryBus, BusEvent], Awaitable[int]]

CURSOR = {"x": 120, "y": -0.5, "over": None, "path": ["ä", []]}


async def listed(client: ChatClient, room: str) -> Frame:
    """Find a public room in the list, which has pages: other tests have made rooms too."""
    page = await client.ask("room.list", limit=100)
    while True:
        for each in page["rooms"]:
            if each["name"] == room:
                found: Frame = each
                return found
        page = await client.ask("room.list", limit=100, cursor=page["next_cursor"])


async def test_a_signal_reaches_the_others_in_the_room_and_is_not_kept(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(alice, room) as phone, app.in_room(bob, room) as ben:
        await ann.heard()
        assert await ann.ask("room.signal", room=room, name="cursor", data=CURSOR) == {}
        await ann.ask("room.signal", room=room, name="wave")
        signal = {"room": room, "user": alice, "name": "cursor", "data": CURSOR}
        assert await ben.expect("room.signal") == signal
        assert await ben.expect("room.signal") == {"room": room, "user": alice, "name": "wave"}
        for client in (ann, phone):
            assert "room.signal" not in {event["type"] for event in await client.heard()}
        assert (await ben.ask("chat.history", room=room))["messages"] == []


async def test_a_signal_over_http_reaches_the_room(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room):
        await ann.heard()
        sent = await app.ask(
            "POST", "/call/room.signal", await app.token(bob), json={"room": room, "name": "wave", "data": 1}
        )
        assert (sent.status_code, sent.json()) == (200, {})
        await ann.expect("room.signal", user=bob, name="wave", data=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": "Cursor"},
        {"name": "a b"},
        {"name": "cursor\n"},
        {"name": None},
        {"name": 7},
        {"data": "x" * 4095},
        {"data": {"é": ["é" * 2044]}},
        {"room": "No"},
        {"more": 1},
    ],
    ids=str,
)
async def test_a_wrong_signal_is_refused_and_reaches_nobody(wrong: dict[str, Any]) -> None:
    session = FakeSession(scopes={"chat:write"})
    await session.run(SignalHandler, {"room": "lobby", "name": "cursor"} | wrong)
    [(_, error)] = session.refusals
    assert error.status == 42200
    assert error.details is not None
    assert "xxx" not in str(error.details)
    assert not session.calls


async def test_a_signal_of_4_kib_passes_and_one_byte_more_does_not() -> None:
    session = FakeSession(scopes={"chat:write"})
    await session.run(SignalHandler, {"room": "lobby", "name": "c", "data": "x" * 4094})
    await session.run(SignalHandler, {"room": "lobby", "name": "c", "data": "x" * 4095})
    assert [call.verb for call in session.calls] == ["rooms.signal"]
    [(_, error)] = session.refusals
    assert error.details is not None
    assert error.details[0].model_dump() == {
        "field": "data.data",
        "message": "expected at most 4096 bytes of JSON, got 4097",
    }


async def test_a_handler_that_signals_what_json_cannot_hold_is_told_so_by_its_test() -> None:
    for name, data in (("cursor", float("nan")), ("No Name", 1), ("cursor", "x" * 5000)):
        with pytest.raises(ValueError, match="expected"):
            await FakeSession().rooms.signal("lobby", name, data)


@pytest.mark.parametrize("data", ["NaN", '"\\ud800"', "[" * 40 + "]" * 40], ids=["nan", "surrogate", "deep"])
async def test_what_is_no_json_of_the_protocol_is_refused_and_the_connection_lives(
    app: App, alice: str, bob: str, room: str, data: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.heard()
        await ann.send(f'{{"type":"room.signal","id":9,"data":{{"room":"{room}","name":"c","data":{data}}}}}')
        assert (await ann.expect("error"))["status"] == 40000
        await ann.ask("room.signal", room=room, name="c")
        await ben.expect("room.signal", name="c")
        await ben.expect_nothing()


async def test_only_members_signal(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.connect(bob) as ben:
        assert (await ben.refused("room.signal", room=room, name="c"))["status"] == 40301
        assert (await ben.refused("room.signal", room=f"{room}-x", name="c"))["status"] == 40400
        await ben.ask("room.join", room=room)
        await ann.expect("room.joined")
        await ben.ask("room.leave", room=room)
        await ann.expect("room.left")
        await ben.heard()
        assert (await ben.refused("room.signal", room=room, name="c"))["status"] == 40301
        await ann.expect_nothing()


async def test_a_flood_of_signals_is_cut_at_its_own_rate_and_the_connection_lives(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=0, message_rate_per_user=0, message_rate_per_address=0, signal_rate=5)
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.heard()
        for number in range(200):
            await ann.send(
                {"type": "room.signal", "id": number, "data": {"room": "lobby", "name": "c", "data": number}}
            )
        answers = [await ann.next() for _ in range(200)]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert {(error["status"], error["retryable"]) for error in refused} == {(42900, True)}
        assert all(1 <= error["retry_after_ms"] <= 201 for error in refused)
        passed = [answer["id"] for answer in answers if answer["type"] == "reply"]
        assert passed[:5] == [0, 1, 2, 3, 4]
        assert len(passed) < 100
        heard = [event["data"]["data"] for event in await ben.heard()]
        assert heard == passed
        # Other messages are not held up, and another connection has a rate of its own.
        await ann.say("lobby", "still here")
        await ben.expect("chat.message")
        await ben.ask("room.signal", room="lobby", name="c")


async def test_with_a_rate_of_0_all_signals_pass(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=0, message_rate_per_user=0, message_rate_per_address=0, signal_rate=0)
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann:
        for _ in range(50):
            await ann.ask("room.signal", room="lobby", name="c")


@pytest.mark.both_stores
async def test_an_owner_turns_the_signals_of_a_room_off_and_on(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.heard()
        assert "signals" not in await listed(ann, room)
        await ann.ask("room.signal", room=room, name="c")
        await ben.expect("room.signal")
        assert (await ben.refused("room.update", room=room, signals=False))["status"] == 40300
        assert (await ann.ask("room.update", room=room, signals=False))["room"]["signals"] is False
        for client in (ann, ben):
            assert (await client.expect("room.updated"))["room"]["signals"] is False
        for client in (ann, ben):
            error = await client.refused("room.signal", room=room, name="c")
            assert (error["status"], error["name"]) == (40300, "forbidden")
            assert "room.update" in error["message"]
        # A change of something else leaves them off; they are no change twice.
        assert (await ann.ask("room.update", room=room, title="Quiet"))["room"]["signals"] is False
        for client in (ann, ben):
            await client.expect("room.updated")
        await ann.ask("room.update", room=room, signals=False)
        for client in (ann, ben):
            await client.expect_nothing()
        async with app.connect(carol) as cat:
            assert (await listed(cat, room))["signals"] is False
        await ann.ask("room.update", room=room, signals=True)
        await ben.expect("room.updated")
        await ben.ask("room.signal", room=room, name="c")
        await ann.until(type="room.signal", data={"room": room, "user": bob, "name": "c"})


@pytest.mark.both_stores
async def test_a_room_is_made_without_signals(app: App, alice: str, room: str) -> None:
    async with app.connect(alice) as ann:
        assert (await ann.ask("room.create", room=room, signals=False))["room"]["signals"] is False
        await ann.ask("room.join", room=room)
        assert (await ann.refused("room.signal", room=room, name="c"))["status"] == 40300
        for wrong in (None, 0, "no"):
            assert (await ann.refused("room.update", room=room, signals=wrong))["status"] == 42200


async def test_a_crowded_room_takes_no_signals_and_says_why(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_presence_listeners=2)) as app, app.in_room("alice", "lobby") as ann:
        async with app.in_room("bob", "lobby") as ben, app.in_room("carol", "lobby") as cat:
            error = await cat.refused("room.signal", room="lobby", name="c")
            assert (error["status"], error["retryable"]) == (40302, False)
            assert error["message"] == "more than 2 connections hear this room, so it takes no signals"
            await cat.ask("room.leave", room="lobby")
            await ben.until(type="room.left", data={"room": "lobby", "user": "carol"})
            await ben.ask("room.signal", room="lobby", name="c")
            await ann.until(type="room.signal", data={"room": "lobby", "user": "bob", "name": "c"})


async def test_a_token_without_the_scope_or_the_right_signals_nothing() -> None:
    session = FakeSession(scopes={"chat:read"})
    await session.run(SignalHandler, {"room": "lobby", "name": "c"})
    assert [error.status for _, error in session.refusals] == [40300]


async def test_a_signal_is_the_first_that_a_slow_reader_loses(
    app: App, alice: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[BusEvent] = []
    monkeypatch.setattr(MemoryBus, "publish", record(MemoryBus.publish, published))
    async with app.in_room(alice, room) as ann:
        await ann.ask("room.signal", room=room, name="c")
    [signal] = [event for event in published if b'"room.signal"' in event.frame.wire]
    assert signal.frame.droppable


def record(publish: Publish, published: list[BusEvent]) -> Publish:
    """Return a function that publishes events and records them."""

    async def recorded(bus: MemoryBus, event: BusEvent) -> int:
        published.append(event)
        return await publish(bus, event)

    return recorded
