"""Custom states: what users show of themselves in a room, as long as they are in it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from gateway.bus.base import MemberLeft
from gateway.rooms import custom_states
from gateway.testing import FakeSession
from gateway.transport import frames
from handlers.presence import SetPresenceHandler
from schemas.events.rooms import RoomLeft
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.waiting import until

BUSY = {"in_call": True, "with": ["ä", None, 1.5]}
NO_RATES = {"message_rate": 0, "message_rate_per_user": 0, "message_rate_per_address": 0}


async def shown(client: ChatClient, room: str) -> dict[str, Any]:
    """Return the custom states of a room's members, as `room.members` has them."""
    members = (await client.ask("room.members", room=room))["members"]
    return {member["user"]: member["custom_state"] for member in members if "custom_state" in member}


@asynccontextmanager
async def together(app: App, alice: str, bob: str, room: str) -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    """Alice and Bob in a room. Both see presence, and Alice has seen Bob come."""
    async with app.in_room(alice, room) as ann:
        ann.ignored.clear()
        async with app.in_room(bob, room) as ben:
            ben.ignored.clear()
            await ann.expect("room.joined", user=bob)
            await ann.expect("presence.changed", user=bob, state="online")
            yield ann, ben


async def test_a_state_is_shown_to_the_others_and_in_the_list_of_members_until_it_is_taken_back(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with together(app, alice, bob, room) as (ann, ben):
        assert await ben.ask("presence.set", room=room, state=BUSY) == {}
        assert await shown(ben, room) == {bob: BUSY}  # at once, before the others hear of it
        changed = {"room": room, "user": bob, "state": "online"}
        assert await ann.expect("presence.changed") == changed | {"custom_state": BUSY}
        assert await shown(ann, room) == {bob: BUSY}
        await ben.ask("presence.set", room=room, state=None)
        assert await shown(ben, room) == {}
        assert await ann.expect("presence.changed") == changed
        assert await shown(ann, room) == {}
        await ben.expect_nothing()


async def test_a_state_counts_in_its_room_alone(app: App, alice: str, bob: str, unique: Callable[[str], str]) -> None:
    red, blue = unique("red"), unique("blue")
    async with together(app, alice, bob, red) as (ann, ben):
        await ann.ask("room.join", room=blue)
        await ben.ask("room.join", room=blue)
        await ann.until(type="presence.changed", data={"room": blue, "user": bob, "state": "online"})
        await ben.ask("presence.set", room=red, state={"at": "red"})
        await ann.expect("presence.changed", room=red, custom_state={"at": "red"})
        await ann.expect_nothing()
        assert (await shown(ann, red), await shown(ann, blue)) == ({bob: {"at": "red"}}, {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": {"a": "x" * 1017}},
        {"state": {"ä": "ä" * 509}},
        {"state": []},
        {"state": "busy"},
        {"state": 1},
        {"state": True},
        {},
        {"state": {}, "room": "No"},
        {"state": {}, "more": 1},
    ],
    ids=str,
)
async def test_a_wrong_state_is_refused_and_reaches_nobody(wrong: dict[str, Any]) -> None:
    session = FakeSession(scopes={"chat:write"})
    await session.run(SetPresenceHandler, {"room": "lobby"} | wrong)
    assert [error.status for _, error in session.refusals] == [42200]
    assert not session.calls


async def test_a_state_of_1024_bytes_passes_and_one_byte_more_does_not() -> None:
    session = FakeSession(scopes={"chat:write"})
    await session.run(SetPresenceHandler, {"room": "lobby", "state": {"a": "x" * 1016}})
    await session.run(SetPresenceHandler, {"room": "lobby", "state": {"a": "x" * 1017}})
    assert [call.arguments for call in session.calls] == [{"room": "lobby", "state": {"a": "x" * 1016}}]
    [(_, error)] = session.refusals
    assert error.details is not None
    assert error.details[0].model_dump() == {
        "field": "data.state",
        "message": "expected at most 1024 bytes of JSON, got 1025",
    }


async def test_a_handler_that_sets_what_json_cannot_hold_is_told_so_by_its_test() -> None:
    for state in ({"a": float("nan")}, {"a": "x" * 2000}):
        with pytest.raises(ValueError, match="expected"):
            await FakeSession().presence.set("lobby", state)


@pytest.mark.parametrize("state", ['{"a":NaN}', "[" * 40 + "]" * 40], ids=["nan", "deep"])
async def test_what_is_no_json_of_the_protocol_is_refused_and_the_state_stays(
    app: App, alice: str, room: str, state: str
) -> None:
    async with app.in_room(alice, room) as ann:
        await ann.ask("presence.set", room=room, state=BUSY)
        await ann.send(f'{{"type":"presence.set","id":9,"data":{{"room":"{room}","state":{state}}}}}')
        assert (await ann.expect("error"))["status"] == 40000
        assert await shown(ann, room) == {alice: BUSY}


async def test_a_state_set_a_thousand_times_a_second_is_told_each_50_ms_and_the_last_one_counts(
    own_gateway: OwnGateway,
) -> None:
    async with App(own_gateway(**NO_RATES)) as app:
        async with together(app, "alice", "bob", "lobby") as (ann, ben):
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for number in range(1000):
                await ben.send({"type": "presence.set", "data": {"room": "lobby", "state": {"at": number}}})
            await ben.ask("presence.set", room="lobby", state={"at": "the end"})
            took = loop.time() - begun
            told: list[Any] = []
            while not told or told[-1] != {"at": "the end"}:
                told.append((await ann.expect("presence.changed", user="bob"))["custom_state"])
            assert len(told) <= took / 0.05 + 2
            numbers = [each["at"] for each in told[:-1]]
            assert numbers == sorted(numbers)
            await ann.expect_nothing()
            assert await shown(ann, "lobby") == {"bob": {"at": "the end"}}


async def test_states_that_change_nothing_are_told_to_nobody(app: App, alice: str, bob: str, room: str) -> None:
    async with together(app, alice, bob, room) as (ann, ben):
        await ben.ask("presence.set", room=room, state=None)
        await ben.ask("presence.set", room=room, state=BUSY)
        await ann.expect("presence.changed", custom_state=BUSY)
        await ben.ask("presence.set", room=room, state=BUSY)
        await asyncio.sleep(0.1)  # as long as it takes to tell, if it were told
        await ann.expect_nothing()
        await ben.ask("presence.set", room=room, state={})
        await ann.expect("presence.changed", custom_state={})


async def test_of_two_connections_the_one_that_set_a_state_last_counts_as_long_as_it_is_there(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with together(app, alice, bob, room) as (ann, laptop):
        await laptop.ask("presence.set", room=room, state={"on": "laptop"})
        await ann.expect("presence.changed", custom_state={"on": "laptop"})
        async with app.in_room(bob, room) as phone:
            phone.ignored.clear()
            await phone.ask("presence.set", room=room, state={"on": "phone"})
            await ann.expect("presence.changed", custom_state={"on": "phone"})
            assert await shown(phone, room) == await shown(laptop, room) == {bob: {"on": "phone"}}
        await ann.expect("presence.changed", user=bob, state="online", custom_state={"on": "laptop"})
        await laptop.expect_nothing()
        await laptop.ask("presence.set", room=room, state=None)
        assert "custom_state" not in await ann.expect("presence.changed", user=bob, state="online")


async def test_a_state_is_gone_with_its_connection_at_once(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann:
        ann.ignored.clear()
        async with app.in_room(bob, room) as ben:
            await ann.expect("room.joined", user=bob)
            await ann.expect("presence.changed", user=bob, state="online")
            await ben.ask("presence.set", room=room, state=BUSY)
            await ann.expect("presence.changed", custom_state=BUSY)
            ben.ws.transport.abort()
            # Bob is online for some seconds more: a phone in a tunnel should not flicker.
            assert "custom_state" not in await ann.expect("presence.changed", user=bob, state="online")
        async with app.in_room(bob, room) as ben:
            assert await shown(ben, room) == {}
        await ann.expect_nothing()


async def test_who_leaves_or_is_kicked_while_a_state_is_being_set_is_told_of_as_leaving(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with together(app, alice, bob, room) as (ann, ben):
        leave, kick = partial(ben.start, "room.leave", room=room), partial(ann.start, "room.kick", room=room, user=bob)
        for end in (leave, kick):
            await ben.ask("presence.set", room=room, state=BUSY)
            await ann.expect("presence.changed", custom_state=BUSY)
            await ben.start("presence.set", room=room, state={"not": "told any more"})
            await end()
            await ann.until(type="room.left")
            await asyncio.sleep(0.1)  # as long as it takes to tell, if it were told
            await ann.expect_nothing()
            await ben.heard()
            assert (await ben.refused("presence.set", room=room, state={}))["status"] == 40301
            await ben.ask("room.join", room=room)
            await ann.expect("room.joined")
            assert "custom_state" not in await ann.expect("presence.changed", user=bob, state="online")
            assert await shown(ben, room) == {}


async def test_no_change_of_presence_follows_a_kick_in_the_same_moment(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custom_states, "MERGE_SECONDS", 60)
    gateway = own_gateway()
    hub, presence = gateway.state.hub, gateway.state.presence

    async def kick() -> None:
        presence.custom._pass_on(("lobby", "bob"))  # as its timer does
        room = hub.find("lobby")
        assert room is not None
        assert room.epoch is not None
        [user_id] = {connection.user_id for connection in room.connections if connection.user == "bob"}
        left = frames.event(RoomLeft(room="lobby", user="bob"))
        hub.receive(MemberLeft(left, "lobby", room.epoch, user_id, room.departures + 1))

    async with App(gateway) as app, together(app, "alice", "bob", "lobby") as (ann, ben):
        await ben.ask("presence.set", room="lobby", state=BUSY)
        await gateway.run(kick())
        for client in (ann, ben):
            await client.expect("room.left", user="bob")
            await client.expect_nothing()


async def test_a_connection_that_joins_again_keeps_its_state(app: App, alice: str, bob: str, room: str) -> None:
    async with together(app, alice, bob, room) as (ann, ben):
        await ben.ask("presence.set", room=room, state=BUSY)
        await ann.expect("presence.changed", custom_state=BUSY)
        await ben.ask("room.join", room=room)
        await ben.ask("room.resume", rooms=[{"room": room}])
        assert await shown(ben, room) == {bob: BUSY}
        await ann.expect_nothing()


async def test_a_later_room_of_the_same_name_has_no_states(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.heard()
        for client in (ann, ben):
            await client.ask("presence.set", room=room, state=BUSY)
        await ann.ask("room.delete", room=room)
        for client in (ann, ben):
            await client.expect("room.deleted")
            assert (await client.refused("presence.set", room=room, state={}))["status"] == 40400
        for client in (ann, ben):
            await client.ask("room.join", room=room)
        await ann.heard()
        assert await shown(ann, room) == {}


async def test_only_a_connection_that_hears_the_room_has_a_state_there(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann, app.connect(alice) as phone, app.connect(bob) as ben:
        ann.ignored.clear()
        error = await phone.refused("presence.set", room=room, state=BUSY)
        assert (error["status"], error["retryable"]) == (40900, False)
        assert "send `room.join` first" in error["message"]
        assert (await ben.refused("presence.set", room=room, state=BUSY))["status"] == 40301
        assert (await ben.refused("presence.set", room=f"{room}-x", state=BUSY))["status"] == 40400
        answer = await app.ask("POST", "/call/presence.set", await app.token(alice), json={"room": room, "state": BUSY})
        assert answer.json()["status"] == 40400
        await ann.expect_nothing()


async def test_a_crowded_room_takes_no_states_and_says_why_but_takes_them_back(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_presence_listeners=2)) as app:
        async with together(app, "alice", "bob", "lobby") as (ann, ben):
            await ben.ask("presence.set", room="lobby", state=BUSY)
            await ann.expect("presence.changed", custom_state=BUSY)
            for client in (ann, ben):
                client.ignored.add("room.joined")
            async with app.in_room("carol", "lobby") as cat:
                for client in (ben, cat):
                    error = await client.refused("presence.set", room="lobby", state={"new": 1})
                    assert (error["status"], error["retryable"]) == (40302, False)
                    assert error["message"] == "more than 2 connections hear this room, so it takes no custom states"
                assert await shown(cat, "lobby") == {"bob": BUSY}
                await ben.ask("presence.set", room="lobby", state=None)
                assert await shown(cat, "lobby") == {}
                await ann.expect_nothing()


async def test_a_user_that_goes_away_keeps_its_state(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(away_minutes=0.02)) as app, app.in_room("alice", "lobby") as ann:
        ann.ignored.clear()
        async with app.in_room("bob", "lobby") as ben:
            await ben.ask("presence.set", room="lobby", state=BUSY)
            await ann.until(
                type="presence.changed",
                data={"room": "lobby", "user": "bob", "state": "away", "custom_state": BUSY},
            )
            await ben.ask("echo")
            await ann.expect("presence.changed", user="bob", state="online", custom_state=BUSY)


async def test_long_states_make_a_page_of_members_shorter(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.member_pages.MAX_CUSTOM_BYTES", 2100)
    long = {"a": "x" * 1000}
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        async with app.in_room("carol", "lobby") as cat:
            for client in (ann, ben, cat):
                await client.heard()
                await client.ask("presence.set", room="lobby", state=long)
            page = await ann.ask("room.members", room="lobby")
            assert [member["user"] for member in page["members"]] == ["alice", "bob"]
            rest = await ann.ask("room.members", room="lobby", cursor=page["next_cursor"])
            assert [member["custom_state"] for member in rest["members"]] == [long]
            assert "next_cursor" not in rest


async def test_no_state_is_left_after_all_have_gone(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann:
        for _ in range(3):
            async with app.in_room("bob", "lobby") as ben:
                await ben.ask("presence.set", room="lobby", state=BUSY)
            async with app.in_room("bob", "lobby") as ben:
                await ben.ask("presence.set", room="lobby", state=BUSY)
                await ben.ask("room.leave", room="lobby")
        custom = gateway.state.presence.custom
        await until(lambda: not custom._set and not custom._waiting)
        await ann.heard()
        assert await shown(ann, "lobby") == {}
