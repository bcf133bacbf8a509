"""Making, finding, entering and leaving rooms."""

from collections.abc import Callable

import pytest

from tests.client import App
from tests.conftest import OwnGateway

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


async def test_joining_again_is_fine_and_tells_nobody(app: App, alice: str, bob: str, room: str) -> None:
    async with app.in_room(alice, room) as ann, app.in_room(bob, room) as ben:
        await ann.expect("room.joined", user=bob)
        await ben.ask("room.join", room=room)
        await ann.expect_nothing()
        await ann.ask("chat.send", room=room, text="once")
        await ben.expect("chat.message")
        await ben.expect_nothing()


async def test_two_who_make_the_same_room_by_joining_at_once_are_both_in(
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


async def test_rooms_are_not_made_by_joining_where_that_is_closed(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(rooms_open=False)) as app, app.connect("alice") as client:
        assert (await client.refused("room.join", room="lobby"))["status"] == 40400
        await client.ask("room.create", room="lobby")
        await client.ask("room.join", room="lobby")


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


@pytest.mark.parametrize("type", USES.keys() - {"room.leave"})
async def test_a_room_that_one_is_not_in_cannot_be_used(app: App, alice: str, bob: str, room: str, type: str) -> None:
    async with app.connect(alice) as ann, app.in_room(bob, room) as ben:
        error = await ann.refused(type, room=room, **USES[type])
        assert (error["status"], error["name"]) == (40301, "not_a_member")
        await ben.expect_nothing()


@pytest.mark.parametrize("type", [*USES, "room.join"])
async def test_a_private_room_does_not_exist_for_those_who_are_not_in_it(
    app: App, alice: str, bob: str, room: str, type: str
) -> None:
    async with app.connect(alice) as ann, app.connect(bob) as ben:
        await ben.ask("room.create", room=room, private=True)
        hidden = await ann.refused(type, room=room, **USES.get(type, {}))
        assert hidden["status"] == 40400
        await ben.ask("room.join", room=room)
        await ben.expect_nothing()


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


async def test_joins_over_the_rate_are_refused(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(join_rate=2)
    async with App(gateway) as app, app.connect("alice") as client:
        await client.ask("room.join", room="a")
        await client.ask("room.join", room="b")
        error = await client.refused("room.join", room="c")
        assert error["status"] == 42900
        assert error["retry_after_ms"] > 0
        gateway.clock.ahead += 1
        await client.ask("room.join", room="c")


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
