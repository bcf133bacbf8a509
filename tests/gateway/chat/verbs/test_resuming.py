"""`room.resume`: back in many rooms with one message, each as `room.join` would say."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.chat.verbs import resuming
from gateway.config.settings import Settings
from gateway.core import costs
from handlers.errors import Unavailable
from schemas.messages.rooms import JoinReply, JoinRoom, RefusedRoom
from tests.conftest import OwnGateway
from tests.gateway.rooms.nodes import Nodes, running_nodes
from tests.support.client import App, ChatClient, Frame
from tests.support.waiting import until

LIMITS = {
    name: Settings.model_fields[name].default
    for name in (
        *("message_rate", "message_rate_per_user", "message_rate_per_address"),
        *("join_rate", "join_rate_per_user"),
    )
}
LONG = "x" * 60_000


@pytest.fixture
def names(unique: Callable[[str], str]) -> list[str]:
    """Rooms for this test."""
    return [unique("room") for _ in range(3)]


async def resume(client: ChatClient, *rooms: str | Frame) -> list[Frame]:
    """Resume rooms, all in one page."""
    reply = await client.ask("room.resume", rooms=requests(*rooms))
    assert reply["has_more"] is False
    results: list[Frame] = reply["rooms"]
    return results


def requests(*rooms: str | Frame) -> list[Frame]:
    return [{"room": room} if isinstance(room, str) else room for room in rooms]


def after(message: Frame) -> Frame:
    """The position of a client that has seen a message last."""
    return {"room": message["room"], "since": {"epoch": message["epoch"], "offset": message["changed"]}}


async def test_each_room_is_answered_as_a_join_would_be_in_the_order_of_the_request(
    app: App, alice: str, bob: str, names: list[str]
) -> None:
    red, green, blue = names
    async with app.in_room(alice, red) as ann, app.connect(bob) as ben:
        for room in (green, blue):
            await ann.ask("room.join", room=room)
        first = {room: await ann.say(room, f"first in {room}") for room in names}
        missed = await ann.say(red, "missed")
        results = await resume(ben, after(first[blue]), after(first[red]), green)
        assert results == [
            {"room": blue, "epoch": first[blue]["epoch"], "offset": 1, "members": 2, "recovered": True, "events": []},
            {
                **results[1],
                "offset": 2,
                "recovered": True,
                "events": [{"type": "chat.message", "data": missed}],
            },
            {"room": green, "epoch": first[green]["epoch"], "offset": 1, "members": 2, "messages": [first[green]]},
        ]
        assert {event["data"]["room"] for event in await ann.heard()} == set(names)  # each got `room.joined`
        for room in names:
            said = await ann.say(room, "now")
            assert await ben.expect("chat.message") == said
        await ben.expect_nothing()
        async with app.connect(bob) as phone:
            for result in await resume(phone, *names):
                assert await phone.ask("room.join", room=result["room"]) == result


async def test_limit_bounds_the_messages_of_its_room(app: App, alice: str, names: list[str]) -> None:
    red, green, _ = names
    async with app.in_room(alice, red) as ann:
        await ann.ask("room.join", room=green)
        said = [await ann.say(room, str(number)) for room in (red, green) for number in range(3)]
        of_red, of_green = await resume(ann, {"room": red, "limit": 1}, {**after(said[3]), "limit": 1})
        assert of_red["messages"] == [said[2]]
        assert (of_green["recovered"], of_green["reason"], of_green["messages"]) == (False, "too_many", [said[5]])


RIGHT = "RIGHT"
"""Stands for a good name of a room that does not exist."""

WRONG: list[tuple[Any, str]] = [
    (None, "data.rooms"),
    ([], "data.rooms"),
    ([{"room": f"room-{number}"} for number in range(129)], "data.rooms"),
    ([{"room": RIGHT}, {"room": "once"}, {"room": RIGHT, "limit": 0}], "data.rooms"),
    (["lobby"], "data.rooms.0"),
    ([{"room": RIGHT}, {"room": "Wrong!"}], "data.rooms.1.room"),
    ([{"room": RIGHT}, {"since": {"epoch": "x", "offset": 1}}], "data.rooms.1.room"),
    ([{"room": RIGHT, "since": {"epoch": "x", "offset": -1}}], "data.rooms.0.since.offset"),
    ([{"room": RIGHT, "limit": 51}], "data.rooms.0.limit"),
    ([{"room": RIGHT, "cursor": "x"}], "data.rooms.0.cursor"),
]
WRONG_IDS = ["no field", "none", "129", "twice", "a text", "a name", "no name", "a position", "a limit", "a key"]


@pytest.mark.parametrize(("rooms", "field"), WRONG, ids=WRONG_IDS)
async def test_a_message_with_one_wrong_room_is_refused_and_joins_none(
    app: App, alice: str, room: str, rooms: Any, field: str
) -> None:
    data = {} if rooms is None else {"rooms": json.loads(json.dumps(rooms).replace(RIGHT, room))}
    async with app.connect(alice) as ann:
        error = await ann.refused("room.resume", **data)
        assert (error["status"], error["name"]) == (42200, "validation_failed")
        assert [detail["field"] for detail in error["details"]] == [field]
        assert (await ann.refused("chat.send", room=room, text="hi"))["status"] == 40400


async def test_a_room_that_is_refused_has_the_error_of_a_join_and_stops_no_other(
    app: App, alice: str, bob: str, names: list[str], unique: Callable[[str], str]
) -> None:
    red, green, hidden = names
    async with app.connect(bob) as ben:
        await ben.ask("room.create", room=hidden, private=True)
        await ben.ask("room.join", room=hidden)
        secret = await ben.say(hidden, "a secret")
        async with app.in_room(alice, red) as ann:
            await ann.ask("room.join", room=green)
            said = await ann.say(red, "one")
            beyond, reserved = {**after(said), "since": {"epoch": said["epoch"], "offset": 2}}, {"room": "dm-1"}
            results = await resume(ann, after(secret), beyond, reserved, green)
            assert [result.get("error", {}).get("status") for result in results] == [40400, 41000, 40300, None]
            for request, result in zip((after(secret), beyond, reserved), results[:3], strict=True):
                refused = await ann.refused("room.join", **request)
                assert result == {"room": request["room"], "error": {k: refused[k] for k in result["error"]}}
                assert refused.keys() - result["error"].keys() == {"type", "id"}
            # The refused room is heard as before.
            assert (await ann.say(red, "two"))["offset"] == 2
            await ann.say(green, "three")
        await ben.expect_nothing()


async def test_a_room_that_was_made_anew_is_another_one(app: App, alice: str, bob: str, names: list[str]) -> None:
    red, green, _ = names
    async with app.in_room(alice, red) as ann:
        await ann.ask("room.join", room=green)
        old, kept = await ann.say(red, "in the old room"), await ann.say(green, "in the kept room")
        await ann.ask("room.delete", room=red)
        await ann.expect("room.deleted", room=red)
        await ann.ask("room.join", room=red)
        new = await ann.say(red, "in the new room")
        async with app.connect(bob) as ben:
            of_red, of_green = await resume(ben, after(old), after(kept))
            assert (of_red["recovered"], of_red["reason"], of_red["messages"]) == (False, "epoch_changed", [new])
            assert of_green["recovered"] is True


async def test_rooms_that_do_not_exist_are_made_only_where_joining_makes_them(
    own_gateway: OwnGateway, app: App, alice: str, names: list[str]
) -> None:
    async with app.connect(alice) as ann:
        assert [each["members"] for each in await resume(ann, *names)] == [1, 1, 1]
    async with App(own_gateway(rooms_open=False)) as closed, closed.connect("alice") as ann:
        await ann.ask("room.create", room=names[1])
        found = await resume(ann, *names)
        assert [each.get("error", {}).get("status") for each in found] == [40400, None, 40400]


async def test_what_does_not_fit_into_one_frame_is_left_for_the_next_message(
    app: App, alice: str, bob: str, names: list[str]
) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        ann.ignored |= {"room.joined"}
        last: dict[str, Frame] = {}
        for room in names:
            await ann.ask("room.join", room=room)
            for _ in range(3):
                last[room] = (await ann.ask("chat.send", room=room, body=LONG))["message"]
                await ann.expect("chat.message")
        rest = names
        while rest:
            page = await ben.ask("room.resume", rooms=requests(*rest))
            assert len(json.dumps(page)) < 256 * 1024
            assert [each["room"] for each in page["rooms"]] == rest[:1]
            assert [message["offset"] for message in page["rooms"][0]["messages"]][:3] == [1, 2, 3]
            rest = rest[1:]
            assert page["has_more"] is bool(rest)
            for room in rest:  # is not heard yet
                await ann.say(room, "unheard")
            await ben.expect_nothing()
        # A client that has seen the most of it gets the rest at once.
        assert len(await resume(ben, *(after(last[room]) for room in names))) == 3


async def test_a_room_with_more_than_a_frame_has_its_newest_messages_as_in_a_join(
    app: App, alice: str, names: list[str]
) -> None:
    red, green, _ = names
    async with app.in_room(alice, red) as ann:
        await ann.ask("room.join", room=green)
        await ann.ask("chat.send", room=green, body=LONG)
        await ann.expect("chat.message")
        for _ in range(6):
            said = (await ann.ask("chat.send", room=red, body=LONG))["message"]
            await ann.expect("chat.message")
        since = {"epoch": said["epoch"], "offset": 0}
        page = await ann.ask("room.resume", rooms=[{"room": green}, {"room": red, "since": since}])
        assert [each["room"] for each in page["rooms"]] == [green]
        page = await ann.ask("room.resume", rooms=[{"room": red, "since": since}])
        assert page["rooms"] == [await ann.ask("room.join", room=red, since=since)]
        assert page["rooms"][0]["reason"] == "too_many"


async def test_rooms_beyond_the_most_of_a_connection_are_refused_one_by_one(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_rooms_per_connection=3)) as app, app.in_room("alice", "a") as ann:
        results = await resume(ann, "b", "c", "d", "a", "e")
        assert [each.get("error", {}).get("status") for each in results] == [None, None, 42900, None, 42900]
        assert results[2]["error"] == {
            "status": 42900,
            "name": "rate_limited",
            "message": "too many rooms on this connection, the limit is 3; leave one first",
            "retryable": True,
        }
        assert (await ann.refused("chat.send", room="d", text="hi"))["status"] == 40400


async def test_a_phone_with_128_rooms_is_back_with_one_message_and_a_flood_is_not(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(**LIMITS)
    gateway.clock.stop()
    rooms = [f"room-{number}" for number in range(128)]
    async with App(gateway) as app:
        async with app.connect("alice") as ann:
            for room in rooms:
                await ann.ask("room.create", room=room)
                gateway.clock.ahead += 1
        gateway.clock.ahead += 10
        async with app.connect("alice") as ann:
            results = await resume(ann, *rooms)
            assert [each["room"] for each in results] == rooms
            assert not any("error" in each for each in results)
            await ann.ask("chat.send", room=rooms[-1], text="I am back")
            await ann.expect("chat.message")
            await resume(ann, *rooms)
            refused = await ann.refused("room.resume", rooms=requests(*rooms))
            assert (refused["status"], refused["message"]) == (42900, "too many joins on this connection")
            assert 0 < refused["retry_after_ms"] < 1000
            gateway.clock.ahead += 1
            await resume(ann, *rooms)


async def test_what_is_read_and_does_not_fit_is_charged_too(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(**LIMITS)
    gateway.clock.stop()
    rooms = [f"room-{number}" for number in range(resuming.FIRST)]
    async with App(gateway) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        for room in rooms:
            await ann.ask("room.join", room=room)
            for _ in range(3):
                await ann.ask("chat.send", room=room, body=LONG)
                await ann.expect("chat.message")
                gateway.clock.ahead += 1
        ann.ignored |= {"room.joined"}
        for room in rooms:
            await ben.ask("room.join", room=room, limit=0)
            gateway.clock.ahead += 1
        gateway.clock.ahead += 10
        each = costs.RESUMED * len(rooms) + len(rooms) * costs.of_answer(3 * len(LONG)) - costs.INCLUDED
        for _ in range(int((LIMITS["message_rate_per_user"] - 1) / each) + 1):
            page = await ben.ask("room.resume", rooms=requests(*rooms))
            assert (len(page["rooms"]), page["has_more"]) == (1, True)
        refused = await ben.refused("ping")
        assert refused["status"] == 42900
        assert refused["retry_after_ms"] > 1000


async def test_a_client_without_the_scope_resumes_nothing(app: App, room: str, alice: str) -> None:
    await app.register(alice)
    token = (await app.log_in(alice, scope="chat:write")).json()["access_token"]
    async with app.connect_with(token) as ann:
        assert (await ann.refused("room.resume", rooms=[{"room": room}]))["status"] == 40300


@pytest.fixture
async def nodes(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    """One node, without sockets, on which a test chooses what happens in between."""
    async with running_nodes(1, tmp_path, store_url, monkeypatch, "ann", "ben") as running:
        yield running
        assert [mistake for ear in running.ears for mistake in ear.mistakes] == []


async def three_rooms(nodes: Nodes) -> None:
    """Ann owns three rooms, and Ben is a member of each."""
    ann, ben = nodes.ear(0, "ann"), nodes.ear(0, "ben")
    for room in ("red", "green", "blue"):
        await ann.rooms.create(room, title=None, private=False)
        await ann.join(room)
        await ben.join(room)
    ben.go()
    ann.go()


def asked(*rooms: str) -> list[JoinRoom]:
    return [JoinRoom(room=room) for room in rooms]


def told(result: JoinReply | RefusedRoom) -> tuple[str, int]:
    """The room, and its offset or its error."""
    return result.room, result.error.status if isinstance(result, RefusedRoom) else result.offset


def meanwhile(monkeypatch: pytest.MonkeyPatch, place: str, room: str, act: Callable[[], Any]) -> None:
    """Let something happen once, after a step of a room's join."""
    step = getattr(resuming.Resuming, place)
    pending = [act]

    async def watched(self: resuming.Resuming, resumed: resuming.ResumedRoom) -> None:
        await step(self, resumed)
        if resumed.name == room and pending:
            await pending.pop()()

    monkeypatch.setattr(resuming.Resuming, place, watched)


@pytest.mark.parametrize("place", ["_begin", "_read_one"])
async def test_what_is_said_meanwhile_is_in_the_reply_or_follows_it_once(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    await three_rooms(nodes)
    ann, ben = nodes.ear(0, "ann"), nodes.ear(0, "ben")
    await ann.resume(*asked("red", "green", "blue"))

    async def talk() -> None:
        for room in ("red", "blue", "green"):
            await ann.say(room)

    meanwhile(monkeypatch, place, "red", talk)
    reply = await ben.resume(*asked("blue", "red", "green"))
    assert [each.room for each in reply.rooms] == ["blue", "red", "green"]
    for room in ("red", "green", "blue"):
        await until(lambda: ben.at[room][1] == 1)  # noqa: B023 - awaited at once
    # The `Ear` has noted each that came twice, too early or not at all.
    await ann.say("red")
    await until(lambda: ben.at["red"][1] == 2)


async def kick_and_delete(nodes: Nodes) -> None:
    """Ann kicks Ben out of one room, and deletes another."""
    ann = next(ear for ear in nodes.ears if ear.user == "ann")
    await ann.rooms.kick("red", "ben")
    await ann.rooms.delete("green")


async def test_before_the_read_a_public_room_takes_a_kicked_user_again_and_a_deleted_one_is_refused_alone(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_rooms(nodes)
    ben = nodes.ear(0, "ben")
    await ben.join("red")
    meanwhile(monkeypatch, "_begin", "green", lambda: kick_and_delete(nodes))
    reply = await ben.resume(*asked("blue", "red", "green"))
    assert [told(each) for each in reply.rooms] == [("blue", 0), ("red", 0), ("green", 40400)]
    assert (set(ben.joined), ben.kinds(), ben.mistakes) == ({"blue", "red"}, [], [])


async def test_a_kick_after_the_read_leaves_its_room_and_those_behind_for_the_next_message(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_rooms(nodes)
    ben = nodes.ear(0, "ben")
    meanwhile(monkeypatch, "_read_one", "red", lambda: kick_and_delete(nodes))
    reply = await ben.resume(*asked("blue", "red", "green"))
    assert (reply.has_more, [told(each) for each in reply.rooms], set(ben.joined)) == (True, [("blue", 0)], {"blue"})
    reply = await ben.resume(*asked("red", "green"))
    assert [told(each) for each in reply.rooms] == [("red", 0), ("green", 40400)]  # a public room takes the user again
    assert set(ben.joined) == {"red", "blue"}


async def test_a_room_that_ends_between_its_read_and_its_reply_is_read_again_before_any_other(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_rooms(nodes)
    ann, ben = nodes.ear(0, "ann"), nodes.ear(0, "ben")
    meanwhile(monkeypatch, "_read_one", "red", lambda: ann.rooms.delete("red"))
    reply = await ben.resume(*asked("red", "green", "blue"))
    assert [told(each) for each in reply.rooms] == [("red", 40400), ("green", 0), ("blue", 0)]
    assert set(ben.joined) == {"green", "blue"}


async def test_a_bus_that_is_away_refuses_its_rooms_and_no_further_ones_are_tried(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_rooms(nodes)
    monkeypatch.setattr(resuming, "FIRST", 2)
    ben = nodes.ear(0, "ben")
    nodes.bus(0).error = Unavailable("bus")
    reply = await ben.resume(*asked("red", "green", "blue"))
    assert [told(each) for each in reply.rooms] == [("red", 50300), ("green", 50300)]
    assert (reply.has_more, ben.joined) == (True, {})
    assert nodes.bus(0).asked.count("blue") == 1  # of ann and ben before


async def test_a_client_that_vanishes_meanwhile_leaves_nothing_behind(nodes: Nodes) -> None:
    await three_rooms(nodes)
    ben = nodes.ear(0, "ben")
    answer = nodes.bus(0).answer = asyncio.Event()
    resumed = asyncio.create_task(ben.resume(*asked("red", "green", "blue")))
    await until(lambda: len(ben.joined) == 3)
    resumed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await resumed
    answer.set()
    await until(lambda: nodes.bus(0).rooms == set())
    assert (ben.joined, nodes.states[0].hub.room_count) == ({}, 0)


async def test_a_failure_of_one_room_leaves_all_as_they_were(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    await three_rooms(nodes)
    ann, ben = nodes.ear(0, "ann"), nodes.ear(0, "ben")
    await ann.join("red")
    await ben.join("red")

    async def fail() -> None:
        await ann.say("red")
        raise RuntimeError("a mistake of ours")

    meanwhile(monkeypatch, "_read_one", "green", fail)
    with pytest.raises(ExceptionGroup):
        await ben.resume(*asked("red", "green", "blue"))
    assert set(ben.joined) == {"red"}
    await until(lambda: ben.at["red"][1] == 1)
    assert nodes.states[0].hub.room_count == 1
