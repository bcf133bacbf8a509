"""Making, finding, joining and leaving rooms."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gateway.store import users
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame

WRONG_NAMES = ["", "a/b", "a b", "😀", "x" * 65, "Lobby", "-a", ".a", "_a", "a\n", "ä", "a#b", "../../etc", "%2e"]
RIGHT_NAMES = ["a", "0", "a.b-c_d", "x" * 60]

USES = {
    "room.leave": {},
    "room.members": {},
    "chat.send": {"text": "hi"},
    "chat.history": {},
    "chat.typing": {},
}


@pytest.mark.parametrize("name", WRONG_NAMES)
@pytest.mark.parametrize("type", ["room.create", "room.join"])
async def test_a_wrong_room_name_is_refused_with_what_was_expected(app: App, alice: str, type: str, name: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused(type, room=name)
        assert error["status"] == 42200
        assert error["details"] == [
            {
                "field": "data.room",
                "message": "expected 1 to 64 of a-z 0-9 - _ . with a letter or digit first",
            }
        ]


@pytest.mark.both_stores
@pytest.mark.parametrize("name", RIGHT_NAMES)
async def test_a_right_room_name_is_taken(own_gateway: OwnGateway, name: str) -> None:
    async with App(own_gateway()) as app, app.connect("alice") as client:
        assert (await client.ask("room.create", room=name))["room"]["name"] == name


async def test_whoever_makes_a_room_owns_it(app: App, alice: str, room: str) -> None:
    async with app.connect(alice) as client:
        made = (await client.ask("room.create", room=room, title="The Room"))["room"]
        assert (made["name"], made["title"], made["private"], made["offset"]) == (room, "The Room", False, 0)
        assert made["epoch"]
        assert (await client.ask("room.members", room=room))["members"] == [
            {"user": alice, "role": "owner", "state": "online"}
        ]


@pytest.mark.both_stores
async def test_a_room_can_be_made_once(app: App, alice: str, bob: str, room: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        await ann.ask("room.create", room=room)
        for client in (ann, ben):
            error = await client.refused("room.create", room=room)
            assert (error["status"], error["name"]) == (40900, "conflict")


async def test_a_maker_hears_the_room_only_after_joining_it(app: App, alice: str, bob: str, room: str) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        await ann.ask("room.create", room=room)
        await ben.ask("room.join", room=room)
        await ben.ask("chat.send", room=room, text="hi")
        await ann.expect_nothing()
        assert (await ann.ask("room.join", room=room))["offset"] == 1


async def test_joining_tells_where_the_log_stands_and_the_newest_50_messages(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.in_room(alice, room) as ann:
        for number in range(1, 53):
            await ann.ask("chat.send", room=room, text=f"message {number}")
            await ann.expect("chat.message")
        async with app.connect(bob) as ben:
            reply = await ben.ask("room.join", room=room)
            assert (reply["room"], reply["offset"], reply["members"]) == (room, 52, 2)
            assert [message["offset"] for message in reply["messages"]] == list(range(3, 53))
            assert {message["epoch"] for message in reply["messages"]} == {reply["epoch"]}


async def test_an_empty_room_has_an_epoch_and_an_offset_too(app: App, alice: str, room: str) -> None:
    async with app.connect(alice) as client:
        reply = await client.ask("room.join", room=room)
        assert (reply["offset"], reply["members"], reply["messages"]) == (0, 1, [])
        assert reply["epoch"]


async def test_joining_again_is_fine_and_is_not_announced(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined", user=bob)
        await ben.ask("room.join", room=room)
        await ann.expect_nothing()
        await ann.ask("chat.send", room=room, text="once")
        await ben.expect("chat.message")
        await ben.expect_nothing()


@pytest.mark.both_stores
async def test_two_users_that_make_the_same_room_by_joining_at_once_are_both_in(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        for client in (ann, ben):
            await client.send({"type": "room.join", "id": 1, "data": {"room": room}})
        replies = []
        for client in (ann, ben):
            while (frame := await client.next())["type"] != "reply":
                assert frame["type"] == "room.joined"
            replies.append(frame)
        assert [reply["status"] for reply in replies] == [20000, 20000]
        assert len({reply["data"]["epoch"] for reply in replies}) == 1


@pytest.mark.both_stores
async def test_rooms_are_not_made_by_joining_where_that_is_closed(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(rooms_open=False)) as app, app.connect("alice") as client:
        assert (await client.refused("room.join", room="lobby"))["status"] == 40400
        await client.ask("room.create", room="lobby")
        await client.ask("room.join", room="lobby")


@pytest.mark.both_stores
async def test_leaving_ends_the_membership_on_all_connections(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as phone, app.in_room(bob, room) as laptop:
        await ann.expect("room.joined", user=bob)
        await phone.ask("room.leave", room=room)
        for client in (phone, laptop, ann):
            await client.expect("room.left", room=room, user=bob)
        await ann.ask("chat.send", room=room, text="Is he gone?")
        for client in (phone, laptop):
            await client.expect_nothing()
            assert (await client.refused("chat.send", room=room, text="No!"))["status"] == 40301
        await phone.ask("room.leave", room=room)  # twice is fine


@pytest.mark.parametrize("type", USES)
async def test_a_room_that_does_not_exist_cannot_be_used(app: App, alice: str, room: str, type: str) -> None:
    async with app.connect(alice) as client:
        error = await client.refused(type, room=room, **USES[type])
        assert (error["status"], error["name"]) == (40400, "not_found")


@pytest.mark.parametrize("type", sorted(USES.keys() - {"room.leave"}))
async def test_a_room_that_one_is_not_in_cannot_be_used(app: App, alice: str, bob: str, room: str, type: str) -> None:
    async with app.connect(alice) as ann, app.in_room(bob, room) as ben:
        error = await ann.refused(type, room=room, **USES[type])
        assert (error["status"], error["name"]) == (40301, "not_a_member")
        await ben.expect_nothing()


@pytest.mark.parametrize("type", [*USES, "room.join"])
async def test_a_private_room_does_not_exist_for_users_outside_it(
    app: App, alice: str, bob: str, room: str, type: str
) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        await ben.ask("room.create", room=room, private=True)
        hidden = await ann.refused(type, room=room, **USES.get(type, {}))
        assert hidden["status"] == 40400
        await ben.ask("room.join", room=room)
        await ben.expect_nothing()


@pytest.mark.both_stores
async def test_rooms_are_listed_in_pages_public_ones_and_ones_own(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        for name in ("a", "b", "c", "d"):
            await ann.ask("room.create", room=name)
        await ann.ask("room.create", room="mine", private=True)
        await ben.ask("room.create", room="bobs", private=True)

        first = await ann.ask("room.list", limit=3)
        assert [room["name"] for room in first["rooms"]] == ["a", "b", "c"]
        second = await ann.ask("room.list", limit=3, cursor=first["next_cursor"])
        assert [(room["name"], room["private"], room["role"]) for room in second["rooms"]] == [
            ("d", False, "owner"),
            ("mine", True, "owner"),
        ]
        assert "next_cursor" not in second
        assert [room["name"] for room in (await ben.ask("room.list"))["rooms"]] == ["a", "b", "bobs", "c", "d"]


@pytest.mark.both_stores
async def test_members_are_listed_in_pages_with_role_and_presence(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann:
        async with app.in_room("bob", "lobby"), app.in_room("carol", "lobby"):
            while (frame := await ann.next())["data"]["user"] != "carol":
                assert frame["type"] == "room.joined"
            first = await ann.ask("room.members", room="lobby", limit=2)
            assert [(each["user"], each["role"], each["state"]) for each in first["members"]] == [
                ("alice", "owner", "online"),
                ("bob", "member", "online"),
            ]
            second = await ann.ask("room.members", room="lobby", limit=2, cursor=first["next_cursor"])
            assert [each["user"] for each in second["members"]] == ["carol"]
            assert "next_cursor" not in second


@pytest.mark.both_stores
async def test_joins_over_the_rate_are_refused(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(join_rate=2)
    async with App(gateway) as app, app.connect("alice") as client:
        gateway.clock.stop()
        await client.ask("room.join", room="a")
        await client.ask("room.join", room="b")
        error = await client.refused("room.join", room="c")
        assert error["status"] == 42900
        assert error["retry_after_ms"] > 0
        gateway.clock.ahead += 1
        await client.ask("room.join", room="c")


@pytest.mark.both_stores
async def test_a_connection_hears_so_many_rooms_and_no_more(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_rooms_per_connection=2)) as app, app.connect("alice") as client:
        await client.ask("room.join", room="a")
        await client.ask("room.join", room="b")
        assert (await client.refused("room.join", room="c"))["status"] == 42900
        await client.ask("room.join", room="b")
        await client.ask("room.leave", room="a")
        await client.expect("room.left", room="a")
        await client.ask("room.join", room="c")


async def test_a_room_may_have_a_title_of_200_characters(app: App, alice: str, unique: Callable[[str], str]) -> None:
    async with app.connect(alice) as client:
        await client.ask("room.create", room=unique("room"), title="x" * 200)
        for title in ("", "x" * 201, 7):
            assert (await client.refused("room.create", room=unique("room"), title=title))["status"] == 42200


MANAGED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "room.invite": ({"user": "DAVE"}, {"owner", "moderator"}),
    "room.role": ({"user": "CAROL", "role": "moderator"}, {"owner"}),
    "room.kick": ({"user": "CAROL"}, {"owner", "moderator"}),
    "room.update": ({"title": "New"}, {"owner"}),
    "room.delete": ({}, {"owner"}),
}
"""A change of a room, and the roles that may make it. All follow each other in one room."""


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
@pytest.mark.parametrize("role", ["owner", "moderator", "member", "nothing", "kicked"])
async def test_a_room_is_managed_by_the_roles_that_allow_it(
    app: App, alice: str, bob: str, carol: str, dave: str, room: str, role: str, private: bool
) -> None:
    inside = {alice: "owner", carol: "member"} | ({} if role == "nothing" else {bob: role.replace("kicked", "member")})

    async def manage(client: ChatClient, type: str) -> Frame:
        data = {key: {"CAROL": carol, "DAVE": dave}.get(value, value) for key, value in MANAGED[type][0].items()}
        return await client.until(id=await client.start(type, room=room, **data))

    async with app.connect(dave) as dan, app.gather(room, inside, private=private) as (ann, cat, *rest):
        async with app.connect(bob) as ben:
            if role == "kicked":
                await ann.ask("room.kick", room=room, user=bob)
            for client in (ann, cat, *rest):
                await client.heard()
            allowed = [type for type, (_, roles) in MANAGED.items() if role in roles]
            for type in MANAGED.keys() - allowed:
                error = await manage(ben, type)
                if role in ("nothing", "kicked"):
                    assert error["status"] == (40400 if private else 40301)
                else:
                    assert error["status"] == 40300
                    assert error["message"].endswith(f"in the room, and yours is `{role}`")
            for client in (ann, cat, dan, *rest):
                await client.expect_nothing()
            members = (await ann.ask("room.members", room=room))["members"]
            assert {each["user"]: each["role"] for each in members if each["user"] != bob} == {
                alice: "owner",
                carol: "member",
            }
            for type in allowed:
                assert (await manage(ben, type))["status"] == 20000, type


@pytest.mark.both_stores
async def test_an_invited_user_is_told_on_all_connections_and_the_room_once_that_user_joins(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.connect(bob) as phone, app.connect(bob) as laptop, app.connect(carol) as cat:
        async with app.gather(room, {alice: "owner"}, private=True) as (ann,):
            await ann.say(room, "Shall we ask him?")
            await ann.ask("room.invite", room=room, user=bob)
            for client in (phone, laptop):
                shown = (await client.expect("room.invited", by=alice))["room"]
                assert (shown["name"], shown["private"], shown["invited"], shown["offset"]) == (room, True, True, 1)
                assert "role" not in shown
            await ann.say(room, "He is invited")
            for client in (phone, laptop, cat):
                await client.expect_nothing()  # as a user hears a room only after joining it
            assert await roles_in(ann, room) == {alice: "owner"}
            assert (await phone.ask("room.join", room=room))["offset"] == 2
            await ann.expect("room.joined", room=room, user=bob)
            assert await roles_in(ann, room) == {alice: "owner", bob: "member"}
            await ann.say(room, "Hello")
            await phone.expect("chat.message", text="Hello")
            for client in (laptop, cat):
                await client.expect_nothing()


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_an_invited_user_may_join_decline_and_nothing_else(
    app: App, alice: str, bob: str, room: str, private: bool
) -> None:
    async with app.connect(bob) as ben, app.gather(room, {alice: "owner"}, private=private) as (ann,):
        await ann.say(room, "a secret")
        await ann.ask("room.invite", room=room, user=bob)
        await ben.expect("room.invited")
        named = {
            type: {key: alice if key == "user" else value for key, value in MANAGED[type][0].items()}
            for type in MANAGED
        }
        for type, use in (USES | named).items():
            if type != "room.leave":
                assert (await ben.refused(type, room=room, **use))["status"] == (40400 if private else 40301), type
        [shown] = [each for each in (await ben.ask("room.list", cursor=room[:-1]))["rooms"] if each["name"] == room]
        assert (shown["invited"], "role" in shown, "unread" in shown) == (True, False, False)
        await ann.expect_nothing()
        await ben.ask("room.leave", room=room)
        await ben.expect("room.left", room=room, user=bob)
        await ann.expect_nothing()
        if private:
            for type in ("room.join", "room.leave"):
                assert (await ben.refused(type, room=room))["status"] == 40400
        listed = {each["name"]: each for each in (await ben.ask("room.list", cursor=room[:-1]))["rooms"]}
        assert (room in listed) is not private
        assert private or "invited" not in listed[room]


async def test_an_invitation_is_taken_back_by_users_that_may_invite(
    app: App, alice: str, bob: str, carol: str, dave: str, room: str
) -> None:
    roles = {alice: "owner", bob: "moderator", carol: "member"}
    async with app.connect(dave) as dan, app.gather(room, roles, private=True) as (ann, ben, cat):
        await ann.ask("room.invite", room=room, user=dave)
        await dan.expect("room.invited", by=alice)
        error = await ben.refused("room.invite", room=room, user=dave)
        assert (error["status"], error["message"]) == (40900, f"`{dave}` is invited already")
        assert (await ann.refused("room.role", room=room, user=dave, role="owner"))["status"] == 40400
        assert (await cat.refused("room.kick", room=room, user=dave))["status"] == 40300
        await ben.ask("room.kick", room=room, user=dave)
        await dan.expect("room.left", room=room, user=dave, by=bob)
        assert (await dan.refused("room.join", room=room))["status"] == 40400
        error = await ben.refused("room.kick", room=room, user=dave)
        assert (error["status"], error["message"]) == (40400, f"`{dave}` is not a member")
        for client in (ann, ben, cat, dan):
            await client.expect_nothing()


async def test_an_invitation_goes_with_its_room(app: App, alice: str, bob: str, carol: str, room: str) -> None:
    async with app.connect(bob) as ben, app.connect(carol) as cat, app.connect(alice) as ann:
        for end in ("room.delete", "room.leave"):
            await ann.ask("room.create", room=room, private=True)
            await ann.ask("room.invite", room=room, user=bob)
            await ben.expect("room.invited")
            await ann.ask(end, room=room)
            await ann.heard()
            await cat.ask("room.create", room=room, private=True)
            assert (await ben.refused("room.join", room=room))["status"] == 40400
            await cat.ask("room.delete", room=room)


async def test_an_invitation_that_is_taken_back_while_it_is_accepted_ends_in_or_out(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner"}, private=True) as (ann,), app.connect(bob) as ben:
        for _ in range(ROUNDS):
            await ann.ask("room.invite", room=room, user=bob)
            await ben.expect("room.invited")
            joined, kicked = await answers(
                (ben, "room.join", {"room": room}), (ann, "room.kick", {"room": room, "user": bob})
            )
            assert kicked["status"] == 20000
            assert joined["status"] in (20000, 40400)
            assert await roles_in_after(ann, room) == {alice: "owner"}
            await ben.heard()
            await ann.say(room, "Is he in?")
            await ben.expect_nothing()


async def disable(gateway: Gateway, name: str) -> None:
    """Disable a user, as `gateway users disable` does."""
    assert await gateway.state.database.transact(partial(users.set_disabled, name=name, disabled_at=1))


async def test_only_users_that_are_not_in_the_room_can_be_invited(
    app: App, gateway: Gateway, alice: str, bob: str, carol: str, room: str
) -> None:
    await app.register(carol)
    await gateway.run(disable(gateway, carol))
    async with app.gather(room, {alice: "owner", bob: "member"}) as (ann, ben):
        for user, status, message in (
            (alice, 40900, "you are a member already"),
            (bob, 40900, f"`{bob}` is a member already"),
            (carol, 40400, f"there is no user `{carol}`"),
            ("no-such-user", 40400, "there is no user `no-such-user`"),
        ):
            error = await ann.refused("room.invite", room=room, user=user)
            assert (error["status"], error["message"]) == (status, message)
        for wrong in ("", "Al", "x" * 33, 1, None, ["bob"]):
            assert (await ann.refused("room.invite", room=room, user=wrong))["status"] == 42200, wrong
        for client in (ann, ben):
            await client.expect_nothing()
        assert len((await ann.ask("room.members", room=room))["members"]) == 2


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
async def test_whoever_was_kicked_hears_the_room_no_more_on_any_connection_until_back(
    app: App, alice: str, bob: str, room: str, private: bool
) -> None:
    async with app.gather(room, {alice: "owner", bob: "member"}, private=private) as (ann, phone):
        async with app.in_room(bob, room) as laptop:
            await ann.ask("room.kick", room=room, user=bob)
            for client in (ann, phone, laptop):
                await client.expect("room.left", room=room, user=bob, by=alice)
            await ann.say(room, "He is gone")
            await ann.ask("chat.typing", room=room)
            await ann.ask("room.update", room=room, title="Without Bob")
            for client in (phone, laptop):
                await client.expect_nothing()
                for type in USES.keys() - {"room.leave"}:
                    status = (await client.refused(type, room=room, **USES[type]))["status"]
                    assert status == (40400 if private else 40301), type
            await ann.expect("room.updated")
            if private:
                assert (await phone.refused("room.join", room=room))["status"] == 40400
                await ann.ask("room.invite", room=room, user=bob)
                for client in (phone, laptop):
                    await client.expect("room.invited")
            reply = await phone.ask("room.join", room=room)
            assert [message["text"] for message in reply["messages"]] == ["He is gone"]
            await ann.expect("room.joined", user=bob)
            await ann.say(room, "He is back")
            await phone.expect("chat.message", text="He is back")
            await laptop.expect_nothing()


async def test_only_other_members_can_be_kicked_and_by_a_moderator_only_mere_ones(
    app: App, alice: str, bob: str, carol: str, dave: str, room: str
) -> None:
    await app.register(dave)
    roles = {alice: "owner", bob: "moderator", carol: "moderator"}
    async with app.gather(room, roles) as (ann, ben, cat):
        for client, user, status, message in (
            (ann, alice, 40900, "a user cannot kick itself; send `room.leave`"),
            (ben, bob, 40900, "a user cannot kick itself; send `room.leave`"),
            (ann, dave, 40400, f"`{dave}` is not a member"),
            (ann, "no-such-user", 40400, "there is no user `no-such-user`"),
            (ben, alice, 40300, "this needs the role `owner` in the room, and yours is `moderator`"),
            (ben, carol, 40300, "this needs the role `owner` in the room, and yours is `moderator`"),
        ):
            error = await client.refused("room.kick", room=room, user=user)
            assert (error["status"], error["message"]) == (status, message), user
        for client in (ann, ben, cat):
            await client.expect_nothing()
        await ann.ask("room.role", room=room, user=bob, role="owner")
        for client in (ann, ben, cat):
            await client.expect("room.role", user=bob, role="owner")
        await ben.ask("room.kick", room=room, user=alice)
        for client in (ann, ben, cat):
            await client.expect("room.left", user=alice, by=bob)


async def test_a_disabled_member_can_be_kicked(app: App, gateway: Gateway, alice: str, bob: str, room: str) -> None:
    async with app.gather(room, {alice: "owner", bob: "member"}) as (ann, _):
        await gateway.run(disable(gateway, bob))
        await ann.ask("room.kick", room=room, user=bob)
        await ann.expect("room.left", user=bob, by=alice)


async def test_all_in_the_room_are_told_of_a_new_role_and_of_the_same_one_none(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.connect(carol) as cat, app.gather(room, {alice: "owner", bob: "member"}) as (ann, ben):
        await ann.ask("room.role", room=room, user=bob, role="moderator")
        for client in (ann, ben):
            await client.expect("room.role", room=room, user=bob, role="moderator")
        for user, role in ((bob, "moderator"), (alice, "owner")):
            await ann.ask("room.role", room=room, user=user, role=role)
        for client in (ann, ben, cat):
            await client.expect_nothing()
        members = (await ben.ask("room.members", room=room))["members"]
        assert [(each["user"], each["role"]) for each in members] == [(alice, "owner"), (bob, "moderator")]


async def test_nobody_promotes_themselves(app: App, alice: str, bob: str, carol: str, room: str) -> None:
    async with app.gather(room, {alice: "owner", bob: "moderator", carol: "member"}) as (ann, *climbers):
        for client, name in zip(climbers, (bob, carol), strict=True):
            for role in ("owner", "moderator", "member"):
                assert (await client.refused("room.role", room=room, user=name, role=role))["status"] == 40300
        await ann.expect_nothing()


async def test_a_role_is_one_of_three_and_for_members_only(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    await app.register(carol)
    async with app.gather(room, {alice: "owner", bob: "member"}) as (ann, _):
        for wrong in ("admin", "", "Owner", 1, None, ["owner"]):
            assert (await ann.refused("room.role", room=room, user=bob, role=wrong))["status"] == 42200, wrong
        for user in (carol, "no-such-user"):
            error = await ann.refused("room.role", room=room, user=user, role="owner")
            assert (error["status"], error["message"]) == (40400, f"`{user}` is not a member")
        await ann.expect_nothing()


async def test_the_last_owner_keeps_that_role_while_in_the_room(app: App, alice: str, bob: str, room: str) -> None:
    async with app.gather(room, {alice: "owner", bob: "moderator"}) as (ann, ben):
        for role in ("moderator", "member"):
            error = await ann.refused("room.role", room=room, user=alice, role=role)
            assert (error["status"], error["message"]) == (40900, "a room needs an owner; make another one first")
        for client in (ann, ben):
            await client.expect_nothing()
        await ann.ask("room.role", room=room, user=bob, role="owner")
        await ann.expect("room.role", user=bob)
        await ann.ask("room.role", room=room, user=alice, role="member")
        await ann.heard()
        await ann.ask("room.leave", room=room)
        await ann.expect("room.left", user=alice)
        assert [event["type"] for event in await ben.heard()] == ["room.role", "room.role", "room.left"]


@pytest.mark.both_stores
async def test_a_room_without_an_owner_belongs_to_the_moderator_or_else_the_member_of_longest_standing(
    app: App, alice: str, bob: str, carol: str, dave: str, room: str
) -> None:
    roles = {alice: "owner", bob: "member", carol: "moderator", dave: "moderator"}
    async with app.gather(room, roles) as (ann, ben, cat, dan):
        for leaving, name, staying, heir in (
            (ann, alice, (ben, cat, dan), carol),
            (cat, carol, (ben, dan), dave),
            (dan, dave, (ben,), bob),
        ):
            await leaving.ask("room.leave", room=room)
            await leaving.expect("room.left", user=name)
            for client in staying:
                await client.expect("room.left", user=name)
                await client.expect("room.role", room=room, user=heir, role="owner")
            await leaving.expect_nothing()
            assert [name for name, role in (await roles_in(ben, room)).items() if role == "owner"] == [heir]
        await ben.ask("room.leave", room=room)


@pytest.mark.both_stores
async def test_a_room_goes_to_no_disabled_user_while_there_is_another(
    app: App, gateway: Gateway, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner", bob: "moderator", carol: "member"}) as (ann, _, cat):
        await gateway.run(disable(gateway, bob))
        await ann.ask("room.leave", room=room)
        await cat.expect("room.left", user=alice)
        await cat.expect("room.role", user=carol, role="owner")
        await cat.ask("room.leave", room=room)
        async with app.connect(alice) as back:
            await back.ask("room.join", room=room)
            assert await roles_in(back, room) == {bob: "owner", alice: "member"}


async def test_no_owner_is_kept_from_leaving(app: App, alice: str, bob: str, carol: str, room: str) -> None:
    async with app.gather(room, {alice: "owner", bob: "member", carol: "member"}, private=True) as (ann, ben, cat):
        await ann.ask("room.role", room=room, user=bob, role="owner")
        await ann.heard()
        await ann.ask("room.leave", room=room)
        await ben.heard()
        await ben.ask("room.leave", room=room)
        await ben.expect("room.left", user=bob)
        await cat.heard()
        assert await roles_in(cat, room) == {carol: "owner"}


@pytest.mark.both_stores
async def test_a_public_room_that_all_have_left_belongs_to_the_next_that_joins(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner"}) as (ann,), app.connect(bob) as ben, app.connect(carol) as cat:
        await ann.say(room, "Good night")
        await ann.ask("room.leave", room=room)
        await ann.expect("room.left")
        reply = await ben.ask("room.join", room=room)
        assert (reply["offset"], reply["members"]) == (1, 1)
        await cat.ask("room.join", room=room)
        members = (await cat.ask("room.members", room=room))["members"]
        assert [(each["user"], each["role"]) for each in members] == [(bob, "owner"), (carol, "member")]


async def test_a_private_room_that_all_have_left_is_gone_and_its_name_is_free(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner"}, private=True) as (ann,), app.connect(bob) as ben:
        epoch = (await ann.say(room, "a secret"))["epoch"]
        await ann.ask("room.leave", room=room)
        await ann.expect("room.left", room=room, user=alice)
        assert (await ann.refused("chat.history", room=room))["status"] == 40400
        made = (await ben.ask("room.create", room=room))["room"]
        assert (made["offset"], made["private"]) == (0, False)
        assert made["epoch"] != epoch
        assert (await ben.ask("chat.history", room=room))["messages"] == []


async def test_all_in_the_room_are_told_of_what_changed_and_of_nothing_none(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.connect(carol) as cat, app.gather(room, {alice: "owner", bob: "member"}) as (ann, ben):
        updated = (await ann.ask("room.update", room=room, title="Ours", private=True))["room"]
        assert (updated["name"], updated["title"], updated["private"], updated["role"]) == (room, "Ours", True, "owner")
        del updated["role"]
        for client in (ann, ben):
            assert await client.expect("room.updated") == {"room": updated}
        await ann.ask("room.update", room=room, title="Ours")
        await ann.ask("room.update", room=room, private=True)
        for wrong in ({}, {"title": None}, {"title": ""}, {"title": "x" * 201}, {"private": "yes"}, {"name": "other"}):
            error = await ann.refused("room.update", room=room, **wrong)
            assert error["status"] == 42200, wrong
        for client in (ann, ben):
            await client.expect_nothing()
        assert (await cat.refused("room.join", room=room))["status"] == 40400
        await ann.ask("room.update", room=room, private=False)
        for client in (ann, ben):
            assert (await client.expect("room.updated"))["room"]["title"] == "Ours"
        await cat.ask("room.join", room=room)


@pytest.mark.both_stores
async def test_a_deleted_room_is_gone_for_all_with_all_that_was_said_in_it(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.connect(carol) as cat, app.gather(room, {alice: "owner", bob: "member"}, private=True) as (ann, ben):
        async with app.in_room(bob, room) as laptop:
            said = await ann.say(room, "a secret")
            for client in (ben, laptop):
                await client.expect("chat.message")
            await ann.ask("room.delete", room=room)
            for client in (ann, ben, laptop):
                assert await client.expect("room.deleted") == {"room": room}
                for type, use in USES.items():
                    assert (await client.refused(type, room=room, **use))["status"] == 40400, type
                for type, (managing, _) in MANAGED.items():
                    named = {key: bob if key == "user" else value for key, value in managing.items()}
                    assert (await client.refused(type, room=room, **named))["status"] == 40400, type
            made = await cat.ask("room.join", room=room)
            assert (made["offset"], made["members"], made["messages"]) == (0, 1, [])
            assert made["epoch"] != said["epoch"]
            for type in ("chat.edit", "chat.delete"):
                data = {"message_id": said["id"]} | ({"text": "mine now"} if type == "chat.edit" else {})
                assert (await cat.refused(type, room=room, **data))["status"] == 40400
            await cat.say(room, "Anybody?")
            for client in (ann, ben, laptop):
                await client.expect_nothing()
            since = {"epoch": said["epoch"], "offset": 1}
            resumed = await ben.ask("room.join", room=room, since=since)
            assert (resumed["recovered"], resumed["reason"]) == (False, "epoch_changed")
            assert [message["text"] for message in resumed["messages"]] == ["Anybody?"]


@pytest.mark.parametrize("name", ["dm-", "dm-x", "dm-0123456789abcdef0123456789abcdef"])
async def test_the_names_of_direct_rooms_are_for_direct_rooms(app: App, alice: str, name: str) -> None:
    async with app.connect(alice) as client:
        for type in ("room.create", "room.join"):
            error = await client.refused(type, room=name)
            assert error["status"] == 40300
            assert error["message"] == "names that begin with `dm-` are for direct rooms; send `direct.open`"


async def test_a_position_beyond_the_end_is_refused_and_changes_nothing(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner", bob: "member"}) as (ann, ben), app.connect(carol) as cat:
        epoch = (await ann.say(room, "hi"))["epoch"]
        await ben.expect("chat.message")
        for client in (ben, cat):
            error = await client.refused("room.join", room=room, since={"epoch": epoch, "offset": 2})
            assert (error["status"], error["name"]) == (41000, "position_lost")
        assert (await cat.refused("chat.history", room=room))["status"] == 40301
        await ann.say(room, "still there?")
        await ben.expect("chat.message", text="still there?")
        for client in (ann, ben, cat):
            await client.expect_nothing()


async def roles_in(client: ChatClient, room: str) -> dict[str, str]:
    """Return the roles of the users in a room."""
    return {each["user"]: each["role"] for each in (await client.ask("room.members", room=room))["members"]}


async def roles_in_after(client: ChatClient, room: str) -> dict[str, str]:
    """Return the roles of the users in a room, after the events that were on their way."""
    await client.heard()
    return await roles_in(client, room)


async def answers(*asked: tuple[ChatClient, str, dict[str, Any]]) -> list[Frame]:
    """Send messages at the same moment, and return their answers."""

    async def ask(client: ChatClient, type: str, data: dict[str, Any]) -> Frame:
        return await client.until(id=await client.start(type, **data))

    return await asyncio.gather(*(ask(*each) for each in asked))


ROUNDS = 8
"""How often to try simultaneous actions: often enough to collide, and not too long to wait for."""


@pytest.mark.both_stores
async def test_of_two_owners_that_kick_each_other_at_once_one_stays(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.gather(room, {carol: "owner", alice: "owner", bob: "owner"}) as (cat, ann, ben):
        for _ in range(ROUNDS):
            got = await answers(
                (ann, "room.kick", {"room": room, "user": bob}), (ben, "room.kick", {"room": room, "user": alice})
            )
            assert sorted(answer["status"] for answer in got) == [20000, 40301]
            left = alice if got[0]["status"] == 20000 else bob
            assert (await cat.expect("room.left", by=left))["user"] == (bob if left == alice else alice)
            await cat.expect_nothing()
            assert await roles_in(cat, room) == {carol: "owner", left: "owner"}
            back, name = (ben, bob) if left == alice else (ann, alice)
            await back.heard()
            await back.ask("room.join", room=room)
            await cat.heard()
            await cat.ask("room.role", room=room, user=name, role="owner")
            for client in (ann, ben, cat):
                await client.heard()


@pytest.mark.both_stores
async def test_of_two_owners_that_step_down_at_once_one_stays(
    app: App, alice: str, bob: str, carol: str, unique: Callable[[str], str]
) -> None:
    for _ in range(ROUNDS // 2):
        room = unique("room")
        async with app.gather(room, {alice: "owner", bob: "owner", carol: "member"}) as (ann, ben, cat):
            got = await answers(
                *(
                    (client, "room.role", {"room": room, "user": name, "role": "member"})
                    for client, name in ((ann, alice), (ben, bob))
                )
            )
            assert sorted(answer["status"] for answer in got) == [20000, 40900]
            await cat.heard()
            assert list((await roles_in(cat, room)).values()).count("owner") == 1


@pytest.mark.both_stores
async def test_of_two_owners_that_leave_at_once_the_room_goes_to_the_member(
    app: App, alice: str, bob: str, carol: str, unique: Callable[[str], str]
) -> None:
    for _ in range(ROUNDS // 2):
        room = unique("room")
        async with app.gather(room, {alice: "owner", bob: "owner", carol: "member"}) as (ann, ben, cat):
            got = await answers(*((client, "room.leave", {"room": room}) for client in (ann, ben)))
            assert [answer["status"] for answer in got] == [20000, 20000]
            assert await roles_in_after(cat, room) == {carol: "owner"}


@pytest.mark.both_stores
async def test_a_user_that_joins_on_two_connections_at_once_joins_once(
    app: App, alice: str, bob: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner"}) as (ann,), app.connect(bob) as phone, app.connect(bob) as laptop:
        for _ in range(ROUNDS):
            got = await answers(*((client, "room.join", {"room": room}) for client in (phone, laptop)))
            assert [answer["status"] for answer in got] == [20000, 20000]
            await ann.expect("room.joined", user=bob)
            await ann.expect_nothing()
            await phone.ask("room.leave", room=room)
            for client in (phone, laptop, ann):
                await client.expect("room.left")


@pytest.mark.both_stores
async def test_a_user_that_is_invited_twice_and_joins_all_at_once_becomes_a_member_once(
    app: App, alice: str, bob: str, carol: str, room: str
) -> None:
    async with app.gather(room, {alice: "owner", bob: "moderator"}) as (ann, ben), app.connect(carol) as cat:
        for _ in range(ROUNDS):
            invitation = {"room": room, "user": carol}
            *invited, joined = await answers(
                (ann, "room.invite", invitation), (ben, "room.invite", invitation), (cat, "room.join", {"room": room})
            )
            assert joined["status"] == 20000
            statuses = sorted(answer["status"] for answer in invited)
            assert statuses in ([20000, 40900], [40900, 40900])
            assert len([event for event in await cat.heard() if event["type"] == "room.invited"]) <= 1
            await cat.ask("room.leave", room=room)
            await cat.expect("room.left")
            for client in (ann, ben):
                events = [event["type"] for event in await client.heard()]
                assert sorted(events) in (["room.joined", "room.left"], ["room.left"])


async def test_whoever_is_kicked_while_joining_is_told_so(app: App, alice: str, bob: str, room: str) -> None:
    async with app.gather(room, {alice: "owner", bob: "member"}, private=True) as (ann, _), app.connect(bob) as ben:
        for _ in range(ROUNDS):
            joined, kicked = await answers(
                (ben, "room.join", {"room": room}), (ann, "room.kick", {"room": room, "user": bob})
            )
            assert kicked["status"] == 20000
            events = [event["type"] for event in await ben.heard()]
            assert (joined["status"], events) in ((20000, ["room.left"]), (40400, []), (40400, ["room.left"]))
            await ann.heard()
            await ann.say(room, "Is he gone?")
            await ben.expect_nothing()
            await ann.ask("room.invite", room=room, user=bob)
            await ann.heard()
            await ben.expect("room.invited")


async def test_whoever_joins_while_leaving_is_either_in_or_out(app: App, alice: str, bob: str, room: str) -> None:
    async with app.gather(room, {alice: "owner"}) as (ann,), app.connect(bob) as phone, app.connect(bob) as laptop:
        for _ in range(ROUNDS):
            await phone.ask("room.join", room=room)
            joined, left = await answers((phone, "room.join", {"room": room}), (laptop, "room.leave", {"room": room}))
            assert left["status"] == 20000
            assert joined["status"] in (20000, 40301)
            events = [event["type"] for event in await phone.heard()]
            assert events in ([], ["room.left"])
            is_in = joined["status"] == 20000 and not events
            await laptop.expect_nothing()
            assert (bob in await roles_in_after(ann, room)) == is_in
            await ann.say(room, "Who is here?")
            if is_in:
                await phone.expect("chat.message")
            for client in (phone, laptop):
                await client.expect_nothing()


@pytest.mark.both_stores
async def test_whoever_joins_while_the_room_becomes_private_is_either_in_or_finds_nothing(
    app: App, alice: str, room: str, unique: Callable[[str], str]
) -> None:
    async with app.gather(room, {alice: "owner"}) as (ann,):
        for _ in range(ROUNDS):
            name = unique("bob")
            async with app.connect(name) as ben:
                joined, updated = await answers(
                    (ben, "room.join", {"room": room}), (ann, "room.update", {"room": room, "private": True})
                )
                assert updated["status"] == 20000
                assert joined["status"] in (20000, 40400)
                assert (name in await roles_in_after(ann, room)) == (joined["status"] == 20000)
                await ann.ask("room.update", room=room, private=False)
                await ann.heard()


@pytest.mark.both_stores
async def test_whoever_joins_while_the_room_is_deleted_is_told_so_or_in_a_new_one(
    app: App, alice: str, bob: str, unique: Callable[[str], str]
) -> None:
    for _ in range(ROUNDS):
        room = unique("room")
        async with app.gather(room, {alice: "owner"}) as (ann,), app.in_room(bob, room) as ben:
            await ann.expect("room.joined")
            epoch = (await ann.say(room, "the old one"))["epoch"]
            joined, deleted = await answers((ben, "room.join", {"room": room}), (ann, "room.delete", {"room": room}))
            assert deleted["status"] == 20000
            events = [event["type"] for event in await ben.heard()]
            if joined["status"] == 40400 or joined["data"]["epoch"] == epoch:
                assert events == ["room.deleted"] or joined["status"] == 40400
                assert (await ben.ask("room.join", room=room))["offset"] == 0
            assert (await ben.say(room, "the new one"))["offset"] == 1
            assert [event["type"] for event in await ann.heard()] == ["room.deleted"]


async def test_whoever_is_kicked_while_sending_is_heard_up_to_then(app: App, alice: str, bob: str, room: str) -> None:
    async with app.gather(room, {alice: "owner", bob: "member"}) as (ann, ben):
        asked = [await ben.start("chat.send", room=room, text=str(number)) for number in range(100)]
        for _ in range(10):
            await ann.expect("chat.message")
        kick = await ann.start("room.kick", room=room, user=bob)
        statuses = [(await ben.until(id=id))["status"] for id in asked]
        assert statuses == sorted(statuses)
        assert {*statuses} == {20000, 40301}
        await ann.until(id=kick)
        events = await ann.heard()
        assert [event["type"] for event in events][-1] == "room.left"
        last = (await ann.ask("chat.history", room=room, limit=1))["messages"][0]
        assert (last["offset"], last["text"]) == (statuses.count(20000), str(statuses.count(20000) - 1))
        await ben.expect_nothing()


@pytest.mark.both_stores
async def test_a_room_that_two_owners_delete_at_once_is_deleted_once(
    app: App, alice: str, bob: str, unique: Callable[[str], str]
) -> None:
    for _ in range(ROUNDS // 2):
        room = unique("room")
        async with app.gather(room, {alice: "owner", bob: "owner"}) as (ann, ben):
            got = await answers(*((client, "room.delete", {"room": room}) for client in (ann, ben)))
            assert sorted(answer["status"] for answer in got) == [20000, 40400]


@pytest.mark.parametrize("scope", ["chat:read", "chat:read chat:write"])
async def test_managing_needs_the_scope_rooms_manage(app: App, alice: str, bob: str, room: str, scope: str) -> None:
    async with app.gather(room, {alice: "owner", bob: "member"}) as (_, ben):
        token = (await app.log_in(alice, scope=scope)).json()["access_token"]
        async with app.socket(f"?token={token}") as ann:
            await ann.expect("welcome", scopes=scope.split())
            for type, (data, _allowed) in MANAGED.items():
                named = {key: {"CAROL": bob, "DAVE": bob}.get(value, value) for key, value in data.items()}
                error = await ann.refused(type, room=room, **named)
                assert error["status"] == 40300
                assert "`rooms:manage`" in error["message"]
        await ben.expect_nothing()


async def test_a_client_that_takes_no_long_frames_joins_with_a_limit(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.connect(bob) as ben:
        for number in range(5):
            await ann.say(room, f"{number}" * 4000)
        assert (await ben.ask("room.join", room=room, limit=0))["messages"] == []
        await ann.expect("room.joined")
        reply = await ben.ask("room.join", room=room, limit=2)
        assert [message["offset"] for message in reply["messages"]] == [4, 5]
        assert len((await ben.ask("room.join", room=room, limit=50))["messages"]) == 5
        for wrong in (-1, 51, "1", 1.5, True):
            assert (await ben.refused("room.join", room=room, limit=wrong))["status"] == 42200


async def test_a_resume_carries_no_more_than_the_limit(app: App, alice: str, room: str) -> None:
    async with app.in_room(alice, room) as ann:
        epoch = (await ann.say(room, "one"))["epoch"]
        for text in ("two", "three", "four"):
            await ann.say(room, text)
        since = {"epoch": epoch, "offset": 1}
        reply = await ann.ask("room.join", room=room, since=since, limit=3)
        assert (reply["recovered"], [event["data"]["offset"] for event in reply["events"]]) == (True, [2, 3, 4])
        reply = await ann.ask("room.join", room=room, since=since, limit=2)
        assert (reply["recovered"], reply["reason"]) == (False, "too_many")
        assert [message["offset"] for message in reply["messages"]] == [3, 4]
        reply = await ann.ask("room.join", room=room, since=since | {"offset": 4}, limit=0)
        assert (reply["recovered"], reply["events"]) == (True, [])
