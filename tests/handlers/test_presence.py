"""Presence."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from gateway.bus.base import ToRoom
from gateway.core import faults
from gateway.rooms.presence import Presence
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import until


@pytest.mark.both_stores
async def test_users_are_online_while_they_are_connected(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann:
        async with app.connect(bob):
            reply = await ann.ask("presence.get", users=[bob, alice])
            assert reply["users"] == [{"user": bob, "state": "online"}, {"user": alice, "state": "online"}]
        async with app.connect(bob):  # again, so that the first one is surely counted out
            pass


async def test_users_that_left_are_offline_after_a_while_and_were_last_seen_then(
    app: App, alice: str, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 1)
    async with app.connect(alice) as ann:
        async with app.connect(bob) as ben:
            came = ben.welcome["server_time"]

        async def last_seen() -> str:
            found: dict[str, str] = (await ann.ask("presence.get", users=[bob]))["users"][0]
            # With a grace as short as here, it may be stored a moment later.
            return found.get("last_seen", "") if found["state"] == "offline" else ""

        await until(last_seen)
        assert datetime.fromisoformat(await last_seen()) >= datetime.fromisoformat(came)


@pytest.mark.both_stores
async def test_a_room_is_told_once_of_a_user_that_comes_and_after_a_while_of_one_that_has_gone(
    app: App, alice: str, bob: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 1)
    async with app.in_room(alice, room) as ann:
        ann.ignored.clear()
        async with app.in_room(bob, room), app.in_room(bob, room):
            await ann.expect("room.joined", user=bob)
            await ann.expect("presence.changed", room=room, user=bob, state="online")
            await ann.expect_nothing()
        await ann.expect("presence.changed", room=room, user=bob, state="offline")
        await ann.expect_nothing()


async def test_a_phone_in_a_tunnel_does_not_flicker(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann:
        ann.ignored.clear()
        for _ in range(3):
            async with app.in_room(bob, room) as ben:
                ben.ws.transport.abort()
        await ann.expect("room.joined", user=bob)
        await ann.expect("presence.changed", user=bob, state="online")
        assert (await ann.ask("presence.get", users=[bob]))["users"] == [{"user": bob, "state": "online"}]
        await ann.expect_nothing()


async def test_whoever_leaves_a_room_is_told_of_as_leaving_and_not_as_offline(
    app: App, alice: str, bob: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 0)
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        ann.ignored.clear()
        await ann.expect("room.joined")
        await ann.expect("presence.changed", state="online")
        await ben.ask("room.leave", room=room)
        await ann.expect("room.left", user=bob)
        await asyncio.sleep(1.1)  # as long as it takes to tell, if it were told
        await ann.expect_nothing()


@pytest.mark.both_stores
async def test_a_silent_user_is_away_and_is_back_with_the_next_message(
    own_gateway: OwnGateway,
) -> None:
    gateway = own_gateway(away_minutes=0.02)
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        ann.ignored.clear()
        await ann.expect("presence.changed", user="bob", state="online")
        await ann.expect("presence.changed", user="bob", state="away")
        assert (await ann.ask("presence.get", users=["bob"]))["users"] == [{"user": "bob", "state": "away"}]
        await ben.ask("ping")  # a heartbeat
        await ann.expect_nothing()
        await ben.ask("echo")
        await ann.expect("presence.changed", user="bob", state="online")
        await ann.expect("presence.changed", user="bob", state="away")
        async with app.connect("bob"):
            await ann.expect("presence.changed", user="bob", state="online")


async def test_a_user_that_does_not_exist_is_offline_and_was_never_seen(app: App, alice: str) -> None:
    async with app.connect(alice) as client:
        assert (await client.ask("presence.get", users=["nobody-at-all"]))["users"] == [
            {"user": "nobody-at-all", "state": "offline"}
        ]


@pytest.mark.parametrize(
    "users",
    [[], ["x" * 33], ["Al"], "alice", None, [1], ["user"] * 101],
    ids=["none", "long", "short", "text", "null", "number", "101"],
)
async def test_a_wrong_list_of_users_is_refused(app: App, alice: str, users: Any) -> None:
    async with app.connect(alice) as client:
        assert (await client.refused("presence.get", users=users))["status"] == 42200


@pytest.mark.both_stores
async def test_a_crowded_room_is_told_of_no_presence_typing_and_newcomers_until_it_is_small_again(
    own_gateway: OwnGateway,
) -> None:
    async with App(own_gateway(max_presence_listeners=2)) as app, app.in_room("alice", "lobby") as ann:
        ann.ignored.clear()
        async with app.in_room("bob", "lobby") as ben:
            await ann.expect("room.joined", user="bob")
            await ann.expect("presence.changed", user="bob", state="online")
            await ben.ask("chat.typing", room="lobby")
            await ann.expect("chat.typing", user="bob", typing=True)
            async with app.in_room("carol", "lobby") as cat:
                await ann.expect("room.joined", user="carol")
                await cat.ask("chat.typing", room="lobby")
                async with app.connect("dave") as dan:
                    assert (await dan.ask("room.join", room="lobby"))["members"] == 4
                    await ann.expect_nothing()
                    await cat.expect_nothing()
                    await dan.ask("room.leave", room="lobby")
                    for client in (ann, cat):
                        await client.expect("room.left", user="dave")
                await ann.expect_nothing()
                state = await ann.ask("presence.get", users=["carol"])
                assert state["users"] == [{"user": "carol", "state": "online"}]
                # What is kept goes to all members, however many they are.
                await cat.say("lobby", "Hello, all!")
                await ann.expect("chat.message", text="Hello, all!")
                await ann.expect_nothing()
                await cat.ask("room.leave", room="lobby")
                await ann.expect("room.left", user="carol")
                await cat.expect("room.left", user="carol")
                await cat.ask("room.join", room="lobby")
                await ann.expect("room.joined", user="carol")
                await cat.ask("room.leave", room="lobby")
                await ann.expect("room.left", user="carol")
            await ben.start("chat.send", room="lobby", text="We two again.")
            await ann.expect("chat.message", text="We two again.")
            await ann.expect("chat.typing", user="bob", typing=False)
            await ann.expect_nothing()


@pytest.mark.both_stores
@pytest.mark.usefixtures("fresh_faults")
async def test_a_room_that_cannot_be_reached_keeps_no_presence_from_other_rooms(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_or_fault(presence: Presence, room: str, name: str, state: Any, custom: str | None) -> ToRoom:
        if room == "red" and name == "bob":
            raise RuntimeError("a room fails")
        return real(presence, room, name, state, custom)

    real = Presence._change
    monkeypatch.setattr(Presence, "_change", change_or_fault)
    async with App(own_gateway(away_minutes=0)) as app, app.in_room("alice", "red") as ann:
        await ann.ask("room.join", room="blue")
        ann.ignored = {"room.joined"}
        async with app.in_room("bob", "red") as ben:
            await ben.ask("room.join", room="blue")
            await ann.expect("presence.changed", room="blue", user="bob", state="online")
            await ann.expect_nothing()
    assert faults.counters == {"presence": 1}
