"""The quotas of one user and one room hold exactly, even at the same moment and on two nodes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from typing import Any

from gateway.config.settings import Settings
from gateway.rooms.retention import Retention
from gateway.store.storage import MESSAGE_BYTES
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.waiting import until

AT_ONCE = 6


async def refused(client: ChatClient, type: str, **data: Any) -> str:
    """Send a message that exceeds a quota, and return the words of the refusal."""
    error = await client.refused(type, **data)
    assert (error["status"], error["name"], error["retryable"]) == (40302, "quota_exceeded", False), error
    assert "retry_after_ms" not in error
    message: str = error["message"]
    return message


async def statuses(*asked: tuple[ChatClient, str, dict[str, Any]]) -> Counter[int]:
    """Send messages at the same moment, and count the statuses of the replies."""
    ids: dict[ChatClient, list[int]] = {}
    for client, type, data in asked:
        ids.setdefault(client, []).append(await client.start(type, **data))

    async def answers(client: ChatClient) -> list[int]:
        return [(await client.until(id=id))["status"] for id in ids[client]]

    return Counter(chain.from_iterable(await asyncio.gather(*map(answers, ids))))


@asynccontextmanager
async def everywhere(gateways: list[Gateway], name: str, count: int = AT_ONCE) -> AsyncIterator[list[ChatClient]]:
    """Connect a user many times, to each gateway in turn."""
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(App(gateway)) for gateway in gateways]
        connections = (apps[number % len(apps)].connect(name) for number in range(count))
        yield [await stack.enter_async_context(connection) for connection in connections]


async def test_a_user_owns_so_many_rooms_and_no_more_until_one_is_left_or_deleted(own_gateway: OwnGateway) -> None:
    words = "you own 2 rooms, the most that one user may own; delete one first"
    async with App(own_gateway(max_rooms_owned=2)) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        await ann.ask("room.create", room="a")
        await ann.ask("room.join", room="b")  # which makes it
        for type in ("room.create", "room.join"):
            assert await refused(ann, type, room="c") == words
        assert [each["name"] for each in (await ben.ask("room.list"))["rooms"]] == ["a", "b"]
        await ben.ask("room.create", room="c")
        await ann.ask("room.join", room="c")  # to be a member is fine

        await ann.ask("room.delete", room="a")
        await ann.ask("room.create", room="d")
        assert await refused(ann, "room.create", room="e") == words
        await ann.ask("room.leave", room="b")
        await ann.expect("room.left")
        await ann.ask("room.create", room="e", private=True)
        assert await refused(ann, "room.join", room="b") == words  # which is gone, as nothing was said in it
        await ann.ask("room.leave", room="e")
        await ann.ask("room.join", room="b")


async def test_a_room_that_a_user_leaves_without_members_counts_until_another_joins(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_rooms_owned=2)) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        for client in (ann, ben):
            client.ignored |= {"chat.message", "room.left", "room.joined", "room.deleted"}

        async def leave(room: str) -> None:
            await ann.ask("room.join", room=room)
            await ann.ask("chat.send", room=room, text="Is anybody here?")
            await ann.ask("room.leave", room=room)

        await leave("a")
        await leave("b")
        assert "you own 2 rooms" in await refused(ann, "room.create", room="c")
        assert (await ben.ask("room.join", room="a"))["offset"] == 1
        await leave("c")
        assert "you own 2 rooms" in await refused(ann, "room.join", room="d")
        await ann.ask("room.join", room="b")  # back in what counts for her
        await ann.ask("room.delete", room="b")
        await ann.ask("room.create", room="d")
        assert "you own 2 rooms" in await refused(ann, "room.create", room="e")


async def test_no_user_is_made_the_owner_of_more_rooms_than_a_user_may_own(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_rooms_owned=1)) as app, app.connect("bob") as ben:
        await ben.ask("room.create", room="bobs")
        async with app.gather("alices", {"alice": "owner", "carol": "member"}) as (ann, cat):
            await ben.ask("room.join", room="alices")
            for client in (ann, cat):
                await client.expect("room.joined")
            words = await refused(ann, "room.role", room="alices", user="bob", role="owner")
            assert words == "`bob` owns 1 rooms, the most that one user may own"
            for client in (ann, cat, ben):
                await client.expect_nothing()
            await ann.ask("room.role", room="alices", user="alice", role="owner")  # which is nothing new
            await ben.ask("room.delete", room="bobs")
            await ann.ask("room.role", room="alices", user="bob", role="owner")
            await ben.until(type="room.role")
            assert "you own" in await refused(ben, "room.create", room="bobs")
            await ben.ask("room.role", room="alices", user="bob", role="member")
            await ben.until(type="room.role")
            await ben.ask("room.create", room="bobs")


async def test_a_room_passes_on_to_a_user_that_owns_as_many_as_allowed(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_rooms_owned=1)) as app, app.connect("bob") as ben:
        await ben.ask("room.create", room="bobs")
        async with app.in_room("alice", "alices") as ann:
            await ben.ask("room.join", room="alices")
            await ann.expect("room.joined")
            await ann.ask("room.leave", room="alices")
            await ben.expect("room.left")
            await ben.expect("room.role", user="bob", role="owner")
        await ben.ask("room.delete", room="bobs")
        assert "you own" in await refused(ben, "room.create", room="another")
        await ben.ask("room.delete", room="alices")
        await ben.expect("room.deleted")
        await ben.ask("room.create", room="another")


async def test_a_user_is_in_so_many_rooms_and_in_no_more_until_one_is_left(own_gateway: OwnGateway) -> None:
    words = "you are in 3 rooms, the most that one user may be in; leave one first"
    async with App(own_gateway(max_rooms_joined=3)) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        for room in ("a", "b"):
            await ben.ask("room.create", room=room)
        await ben.ask("room.create", room="c", private=True)
        await ben.ask("room.invite", room="c", user="alice")
        await ann.expect("room.invited")
        for room in ("a", "b"):
            await ann.ask("room.join", room=room)
        direct = (await ann.ask("direct.open", user="bob"))["room"]["name"]
        await ben.expect("room.invited")
        for type, data in (
            ("room.join", {"room": "c"}),
            ("room.join", {"room": "d"}),
            ("room.create", {"room": "d"}),
        ):
            assert await refused(ann, type, **data) == words
        await app.register("carol")
        assert await refused(ann, "direct.open", user="carol") == words
        assert (await ann.ask("direct.open", user="bob"))["room"]["name"] == direct  # where she is already
        await ann.ask("room.join", room="a")

        await ann.ask("room.leave", room="a")
        await ann.expect("room.left")
        await ann.ask("room.join", room="c")
        assert await refused(ann, "room.join", room="a") == words
        await ben.ask("room.delete", room="b")
        await ann.expect("room.deleted")
        await ann.ask("room.join", room="a")


async def test_what_is_made_at_the_same_moment_on_two_nodes_is_counted_as_well(own_gateway: OwnGateway) -> None:
    limits = {"max_rooms_owned": 3, "max_rooms_joined": 5}
    gateways = [own_gateway(**limits), own_gateway(**limits)]
    async with everywhere(gateways, "alice") as clients, everywhere(gateways[:1], "bob", 1) as (ben,):
        asked: list[tuple[ChatClient, str, dict[str, Any]]] = []
        for number, client in enumerate(clients):
            asked.append((client, ("room.create", "room.join")[number // 2 % 2], {"room": f"alices-{number}"}))
        assert await statuses(*asked) == {20000: 3, 40302: AT_ONCE - 3}
        for number in range(AT_ONCE // 2):
            await ben.ask("room.create", room=f"bobs-{number}")
        joins = [(client, "room.join", {"room": f"bobs-{number // 2}"}) for number, client in enumerate(clients)]
        await statuses(*joins)
        mine = [room for room in (await clients[0].ask("room.list"))["rooms"] if "role" in room]
        assert Counter(room["role"] for room in mine) == {"owner": 3, "member": 2}


async def test_so_many_invitations_wait_in_one_room_and_of_one_user_and_for_one_user(own_gateway: OwnGateway) -> None:
    limits = {"max_invitations_per_room": 2, "max_invitations_per_inviter": 3, "max_invitations_per_user": 2}
    async with App(own_gateway(**limits)) as app, AsyncExitStack() as stack:
        names = ("alice", "bob", "carol", "dave", "erin", "frank")
        ann, ben, cat, dan, *_ = [await stack.enter_async_context(app.connect(name)) for name in names]
        for room in ("a", "b", "c"):
            await ann.ask("room.create", room=room, private=True)
        for name in ("bob", "carol"):
            await ann.ask("room.invite", room="a", user=name)
        words = (
            "2 invitations to this room wait, the most that may;"
            " take one back, such as that of `bob` to `a` with `room.kick`"
        )
        assert await refused(ann, "room.invite", room="a", user="dave") == words
        await ann.ask("room.invite", room="b", user="bob")
        words = (
            "3 of your invitations wait, the most that one user may have sent;"
            " take one back, such as that of `bob` to `a` with `room.kick`"
        )
        assert await refused(ann, "room.invite", room="b", user="dave") == words
        assert await refused(ann, "direct.open", user="dave") == words
        assert not [room for room in (await ann.ask("room.list"))["rooms"] if room["direct"]]
        words = "2 invitations wait for `bob`, the most that may wait for one user"
        assert await refused(dan, "direct.open", user="bob") == words

        await ben.heard()
        await ben.ask("room.join", room="a")  # accepted
        await cat.heard()
        await cat.ask("room.leave", room="a")  # declined
        await dan.ask("direct.open", user="bob")
        await ann.ask("room.invite", room="a", user="dave")
        await ann.ask("room.invite", room="a", user="erin")
        assert "of your invitations" in await refused(ann, "room.invite", room="b", user="frank")
        await ann.ask("room.kick", room="a", user="erin")  # taken back
        await ann.ask("room.invite", room="b", user="frank")
        assert "of your invitations" in await refused(ann, "room.invite", room="c", user="frank")
        await ann.ask("room.delete", room="b")  # gone with the room
        await ann.ask("room.invite", room="c", user="frank")


async def test_an_invitation_to_a_direct_room_is_taken_back_by_leaving_it(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_invitations_per_inviter=1)) as app, app.connect("alice") as ann:
        for name in ("bob", "carol"):
            await app.register(name)
        room = (await ann.ask("direct.open", user="bob"))["room"]["name"]
        await ann.ask("chat.send", room=room, text="Hello?")
        words = await refused(ann, "direct.open", user="carol")
        assert words.endswith(f"take one back, such as that of `bob` to `{room}` with `room.leave`")
        await ann.ask("room.leave", room=room)
        await ann.ask("direct.open", user="carol")
        async with app.connect("bob") as ben:
            assert (await ben.ask("room.list"))["rooms"] == []
            await ben.refused("room.join", room=room)


async def test_invitations_at_the_same_moment_on_two_nodes_are_counted_as_well(own_gateway: OwnGateway) -> None:
    gateways = [own_gateway(max_invitations_per_user=3) for _ in range(2)]
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(App(gateway)) for gateway in gateways]
        await apps[0].register("victim")
        names = [f"user-{number}" for number in range(AT_ONCE)]
        connections = (apps[number % 2].connect(name) for number, name in enumerate(names))
        clients = [await stack.enter_async_context(connection) for connection in connections]
        for client, name in zip(clients[: AT_ONCE // 2], names, strict=False):
            await client.ask("room.create", room=name)
        invitations = [
            (client, "room.invite", {"room": name, "user": "victim"})
            if number < AT_ONCE // 2
            else (client, "direct.open", {"user": "victim"})
            for number, (client, name) in enumerate(zip(clients, names, strict=True))
        ]
        assert await statuses(*invitations) == {20000: 3, 40302: AT_ONCE - 3}


def text(size: int) -> str:
    """Return a text with which a message takes up so many bytes."""
    return "x" * (size - MESSAGE_BYTES)


async def send(client: ChatClient, room: str, size: int) -> str:
    """Send a message that takes up so many bytes, and return its id."""
    id: str = (await client.ask("chat.send", room=room, text=text(size)))["message"]["id"]
    return id


async def test_a_user_s_messages_take_up_so_many_bytes_and_no_more(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_stored_bytes_per_user=1000)
    words = "your messages would take up more than 1000 bytes, the most that one user may store; delete some first"
    async with App(gateway) as app, app.gather("a", {"alice": "owner", "bob": "moderator"}) as (ann, ben):
        for client in (ann, ben):
            client.ignored |= {"chat.message", "chat.edited", "chat.deleted", "room.deleted"}
        await ann.ask("room.create", room="b")
        first = await send(ann, "a", 400)
        await ann.ask("chat.send", room="b", body={"ü": "x" * (300 - MESSAGE_BYTES - 9)})  # JSON, of 9 bytes more
        assert await refused(ann, "chat.send", room="a", text=text(301)) == words
        last = await send(ann, "a", 300)
        for room in ("a", "b"):
            assert await refused(ann, "chat.send", room=room, text="x") == words
        await send(ben, "a", 1000)  # he has his own

        assert await refused(ann, "chat.edit", room="a", message_id=last, text=text(301)) == words
        await ann.ask("chat.edit", room="a", message_id=last, text=text(299))
        await ann.ask("chat.edit", room="a", message_id=last, text=text(300))
        for _ in range(2):  # the second time changes nothing
            await ben.ask("chat.delete", room="a", message_id=first)
        assert await refused(ann, "chat.send", room="a", text="x") == words  # 200 are free, which a text goes over
        await ann.ask("room.delete", room="b")
        assert await refused(ann, "chat.send", room="a", text=text(501)) == words

        async def is_freed() -> bool:  # as the room's messages go, which begins at once
            await ann.start("chat.send", room="a", text=text(500))
            frame = await ann.next()
            return str(frame["type"]) == "reply"

        await until(is_freed)
        assert await refused(ann, "chat.send", room="a", text="x") == words
        assert await refused(ben, "chat.send", room="a", text="x") == words  # as what was freed was not his


async def test_a_room_s_messages_take_up_so_many_bytes_and_no_more(own_gateway: OwnGateway) -> None:
    words = "the room's messages would take up more than 600 bytes, the most that one room may store"
    gateway = own_gateway(max_stored_bytes_per_room=600)
    async with App(gateway) as app, app.gather("a", {"alice": "owner", "bob": "member"}) as (ann, ben):
        for client in (ann, ben):
            client.ignored |= {"chat.message", "chat.edited"}
        sent = await send(ann, "a", 300)
        await send(ben, "a", 300)
        for client in (ann, ben):
            assert await refused(client, "chat.send", room="a", text="x") == words
        assert await refused(ann, "chat.edit", room="a", message_id=sent, text=text(301)) == words
        await ann.ask("chat.edit", room="a", message_id=sent, text=text(299))
        await ann.ask("chat.edit", room="a", message_id=sent, text=text(300))
        await ann.ask("room.create", room="b")
        await send(ann, "b", 600)


async def test_a_message_that_is_sent_again_is_answered_also_over_a_quota(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(max_stored_bytes_per_user=300)) as app, app.in_room("alice", "a") as ann:
        sent = await ann.say("a", text(300), client_id="once")
        again = await ann.ask("chat.send", room="a", text=text(300), client_id="once")
        assert (again["duplicate"], again["message"]) == (True, sent)
        assert "300 bytes" in await refused(ann, "chat.send", room="a", text=text(300), client_id="twice")


async def test_messages_at_the_same_moment_on_two_nodes_are_counted_as_well(own_gateway: OwnGateway) -> None:
    gateways = [own_gateway(max_stored_bytes_per_user=2500, max_stored_bytes_per_room=1500) for _ in range(2)]
    async with everywhere(gateways, "alice") as clients:
        for room in ("a", "b", "c"):
            await clients[0].ask("room.create", room=room)
        for rooms, fit in (("a", 5), ("bc", 3)):  # 1500 in one room; 1000 more in two
            sends = [
                (client, "chat.send", {"room": room, "text": text(300)})
                for client in clients
                for room in rooms
                for _ in range(6 // len(rooms))
            ]
            assert await statuses(*sends) == {20000: fit, 40302: len(sends) - fit}


async def test_what_retention_removes_makes_room(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(max_stored_bytes_per_user=900, max_stored_bytes_per_room=900)
    async with App(gateway) as app, app.in_room("alice", "a") as ann:
        for _ in range(3):
            await ann.say("a", text(300))
        assert "bytes" in await refused(ann, "chat.send", room="a", text="x")
        await gateway.run(prune(gateway, keep=1))
        await ann.say("a", text(600))
        assert "bytes" in await refused(ann, "chat.send", room="a", text="x")


async def prune(gateway: Gateway, keep: int) -> None:
    """Keep so many messages of each room."""
    settings = gateway.settings.model_copy(update={"retention_messages": keep})
    assert await Retention(settings, gateway.state.database, gateway.clock).prune() > 0


QUOTAS = [
    *("max_rooms_owned", "max_rooms_joined"),
    *("max_invitations_per_room", "max_invitations_per_inviter", "max_invitations_per_user"),
    *("max_stored_bytes_per_user", "max_stored_bytes_per_room"),
]


async def test_0_turns_a_quota_off(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(**dict.fromkeys(QUOTAS, 0))) as app, app.connect("alice") as ann:
        await ann.ask("room.join", room="a")
        for name in ("bob", "carol"):
            await app.register(name)
            await ann.ask("room.invite", room="a", user=name)
            await ann.ask("direct.open", user=name)
        await ann.say("a", "hi")


def test_every_quota_holds_when_nothing_is_set() -> None:
    assert all(Settings.model_fields[name].default > 0 for name in QUOTAS)
