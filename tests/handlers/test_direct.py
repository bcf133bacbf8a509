"""`direct.open`: a room for two users."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gateway.store import users
from gateway.testing import Gateway
from tests.support.client import App, Frame

USES: dict[str, dict[str, Any]] = {
    "room.join": {},
    "room.leave": {},
    "room.members": {},
    "chat.send": {"text": "hi"},
    "chat.history": {},
    "chat.read": {"offset": 0},
    "chat.typing": {},
    "chat.edit": {"message_id": "x.1", "text": "hi"},
    "chat.delete": {"message_id": "x.1"},
    "room.invite": {"user": "THEM"},
    "room.kick": {"user": "THEM"},
    "room.role": {"user": "THEM", "role": "member"},
    "room.update": {"private": False},
    "room.delete": {},
}


def use(type: str, user: str) -> dict[str, Any]:
    """The data of a message that concerns a user."""
    return {key: user if value == "THEM" else value for key, value in USES[type].items()}


async def test_two_users_talk_in_a_room_of_their_own(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as phone, app.connect(bob) as laptop:
        opened = (await ann.ask("direct.open", user=bob))["room"]
        assert opened["name"].startswith("dm-")
        assert (opened["private"], opened["direct"], opened["role"], opened["offset"]) == (True, True, "member", 0)
        del opened["role"]
        for client in (phone, laptop):
            assert await client.expect("room.invited") == {"room": opened | {"invited": True}, "by": alice}
        room = opened["name"]
        for number, client in enumerate((ann, phone), 1):
            assert (await client.ask("room.join", room=room))["members"] == number
        await ann.expect("room.joined", user=bob)
        sent = await ann.say(room, "Hello, Bob!")
        assert await phone.expect("chat.message") == sent
        await phone.ask("chat.read", room=room, offset=1)
        for client in (ann, phone):
            await client.expect("chat.read", user=bob, offset=1)
        for client in (ann, phone, laptop):
            await client.expect_nothing()
        members = (await ann.ask("room.members", room=room))["members"]
        assert [(each["user"], each["role"]) for each in members] == [(alice, "member"), (bob, "member")]


@pytest.mark.both_stores
async def test_both_open_the_same_room_and_the_other_is_told_once(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        opened = (await ann.ask("direct.open", user=bob))["room"]
        await ann.ask("direct.open", user=bob)
        await ben.expect("room.invited", by=alice)
        for client, other in ((ben, alice), (ann, bob), (ben, alice)):
            assert (await client.ask("direct.open", user=other))["room"] == opened
        for client in (ann, ben):
            await client.expect_nothing()


@pytest.mark.both_stores
async def test_both_that_open_it_at_once_are_in_the_same_room(
    app: App, alice: str, bob: str, unique: Callable[[str], str]
) -> None:
    async with app.connect(alice) as ann:
        for name in (bob, *(unique("bob") for _ in range(5))):
            async with app.connect(name) as ben:

                async def opened(client: Any, user: str) -> Frame:
                    room: Frame = (await client.until(id=await client.start("direct.open", user=user)))["data"]["room"]
                    return room

                first, second = await asyncio.gather(opened(ann, name), opened(ben, alice))
                assert first == second
                for client in (ann, ben):
                    await client.heard()
                    await client.ask("room.join", room=first["name"])
                await ann.say(first["name"], "You, too?")
                await ben.expect("chat.message")


async def test_each_two_have_another_room(app: App, alice: str, bob: str, carol: str) -> None:
    await app.register(carol)
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        names = {(await ann.ask("direct.open", user=user))["room"]["name"] for user in (bob, carol)}
        await ben.expect("room.invited")
        names.add((await ben.ask("direct.open", user=carol))["room"]["name"])
        assert len(names) == 3


@pytest.mark.parametrize("type", USES)
async def test_a_third_one_finds_nothing(app: App, alice: str, bob: str, carol: str, type: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben, app.connect(carol) as cat:
        room = (await ann.ask("direct.open", user=bob))["room"]["name"]
        await ben.expect("room.invited")
        await ben.ask("room.join", room=room)
        error = await cat.refused(type, room=room, **use(type, alice))
        assert (error["status"], error["message"]) == (40400, f"there is no room `{room}`")
        error = await cat.refused("room.create", room=room)
        assert error["status"] == 40300
        listed = (await cat.ask("room.list", cursor=room[:-1]))["rooms"]
        assert room not in [each["name"] for each in listed]
        for client in (ann, ben):
            await client.expect_nothing()


@pytest.mark.parametrize("type", ["room.invite", "room.kick", "room.role", "room.update", "room.delete"])
async def test_a_direct_room_stays_as_it_is(app: App, alice: str, bob: str, carol: str, type: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben, app.connect(carol) as cat:
        room = (await ann.ask("direct.open", user=bob))["room"]["name"]
        await ben.expect("room.invited")
        await ben.ask("room.join", room=room)
        error = await ann.refused(type, room=room, **use(type, carol if type == "room.invite" else bob))
        assert (error["status"], error["message"]) == (40300, "a direct room belongs to its two users as it is")
        for client in (ann, ben, cat):
            await client.expect_nothing()


async def test_only_the_author_takes_a_message_back(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        room = (await ann.ask("direct.open", user=bob))["room"]["name"]
        await ann.ask("room.join", room=room)
        sent = await ann.say(room, "mine")
        await ben.expect("room.invited")
        await ben.ask("room.join", room=room)
        await ann.expect("room.joined")
        assert (await ben.refused("chat.delete", room=room, message_id=sent["id"]))["status"] == 40300
        assert (await ann.ask("chat.delete", room=room, message_id=sent["id"]))["message"]["deleted"]


async def test_whoever_leaves_finds_it_again_as_it_was_left(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        opened = (await ann.ask("direct.open", user=bob))["room"]
        room = opened["name"]
        await ben.expect("room.invited")
        for client in (ann, ben):
            await client.ask("room.join", room=room)
        await ann.expect("room.joined", user=bob)
        sent = await ann.say(room, "Good night")
        await ben.expect("chat.message")

        await ann.ask("room.leave", room=room)
        for client in (ann, ben):
            await client.expect("room.left", user=alice)
        for type in ("room.join", "chat.history"):
            assert (await ann.refused(type, room=room))["status"] == 40400
        assert (await ann.ask("direct.open", user=bob))["room"]["epoch"] == opened["epoch"]
        await ben.expect("room.joined", room=room, user=alice)
        assert (await ann.ask("room.join", room=room))["messages"] == [sent]
        await ben.expect_nothing()  # neither an invitation nor that she joined twice

        await ben.ask("room.leave", room=room)
        await ben.expect("room.left")
        await ann.expect("room.left", user=bob)
        await ann.ask("direct.open", user=bob)
        await ben.expect("room.invited", by=alice)
        assert (await ben.ask("room.join", room=room))["messages"] == [sent]
        await ann.expect("room.joined", user=bob)


async def test_the_other_is_in_a_direct_room_only_after_joining_it(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        room = (await ann.ask("direct.open", user=bob))["room"]["name"]
        await ben.expect("room.invited", by=alice)
        await ann.ask("room.join", room=room)
        sent = await ann.say(room, "Do you want to talk?")
        await ben.expect_nothing()
        assert (await ben.refused("chat.history", room=room))["status"] == 40400
        [shown] = (await ben.ask("room.list", cursor=room[:-1], limit=1))["rooms"]
        assert (shown["name"], shown["invited"], "role" in shown, "unread" in shown) == (room, True, False, False)
        assert [each["user"] for each in (await ann.ask("room.members", room=room))["members"]] == [alice]
        await ben.ask("direct.open", user=alice)  # as good as joining
        await ann.expect("room.joined", user=bob)
        assert (await ben.ask("room.join", room=room))["messages"] == [sent]
        await ann.expect_nothing()


async def test_a_user_that_declines_a_direct_room_has_it_no_more_and_may_be_asked_again(
    app: App, alice: str, bob: str
) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as phone, app.connect(bob) as laptop:
        room = (await ann.ask("direct.open", user=bob))["room"]["name"]
        for client in (phone, laptop):
            await client.expect("room.invited")
        await phone.ask("room.leave", room=room)
        for client in (phone, laptop):
            await client.expect("room.left", room=room, user=bob)
        assert (await laptop.refused("room.join", room=room))["status"] == 40400
        await ann.ask("direct.open", user=bob)
        for client in (phone, laptop):
            await client.expect("room.invited", by=alice)
        await ann.expect_nothing()


async def test_a_direct_room_that_both_have_left_is_there_when_one_comes_back(app: App, alice: str, bob: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        opened = (await ann.ask("direct.open", user=bob))["room"]
        await ben.expect("room.invited")
        await ben.ask("room.join", room=opened["name"])
        await ann.ask("room.join", room=opened["name"])
        await ann.say(opened["name"], "Good night")
        await ben.expect("chat.message")
        for client in (ann, ben):
            await client.heard()
            await client.ask("room.leave", room=opened["name"])
            await client.heard()
        again = (await ben.ask("direct.open", user=alice))["room"]
        assert (again["name"], again["epoch"], again["offset"]) == (opened["name"], opened["epoch"], 1)
        await ann.expect("room.invited", by=bob)


async def disable(gateway: Gateway, name: str) -> None:
    """Disable a user, as `gateway users disable` does."""
    assert await gateway.state.database.transact(partial(users.set_disabled, name=name, disabled_at=1))


async def test_a_direct_room_is_for_two_existing_users(app: App, gateway: Gateway, alice: str, carol: str) -> None:
    await app.register(carol)
    await gateway.run(disable(gateway, carol))
    async with app.connect(alice) as ann:
        for user, status, message in (
            (alice, 40900, "a direct room is for two; name another user"),
            (carol, 40400, f"there is no user `{carol}`"),
            ("no-such-user", 40400, "there is no user `no-such-user`"),
        ):
            error = await ann.refused("direct.open", user=user)
            assert (error["status"], error["message"]) == (status, message)
        wrong: Any
        for wrong in ("", "Al", "x" * 33, 1, None, ["bob"]):
            assert (await ann.refused("direct.open", user=wrong))["status"] == 42200, wrong
        assert (await ann.refused("direct.open"))["status"] == 42200
        await ann.expect_nothing()
