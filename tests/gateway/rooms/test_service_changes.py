"""What services do in rooms: users see it as if another user had done it, and no user owns what a service keeps."""

from functools import partial
from typing import Any

import pytest

from gateway.core.clock import milliseconds
from gateway.rooms.service_changes import ServiceRooms
from gateway.rooms.service_senders import ServiceSender
from gateway.store import users
from gateway.testing import Gateway
from handlers.errors import Conflict, Forbidden, MessageError, NotFound, QuotaExceeded, TooLarge, ValidationFailed
from tests.conftest import OwnGateway
from tests.support.client import App, Frame

NAME = "service:orders"


async def service_of(gateway: Gateway) -> ServiceSender:
    """Add a service, as its row among the users."""
    add = partial(users.add, name=NAME, password_hash="!", scopes=(), now=0)
    row = await gateway.run(gateway.state.database.transact(add))
    return ServiceSender(row.id, row.name)


def rooms_of(gateway: Gateway) -> ServiceRooms:
    return gateway.state.service_rooms


async def test_a_message_of_a_service_comes_once_and_in_order_of_the_log(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender = await service_of(gateway)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await alice.say("lobby", "one")
        send = partial(rooms_of(gateway).publish_message, sender, "lobby")
        first = await gateway.run(send(text="two", client_id="order-7"))
        again = await gateway.run(send(text="another", client_id="order-7"))
        assert (first.unchanged, again.unchanged) == (False, True)
        heard = await alice.expect("chat.message", sender=NAME, text="two", offset=2)
        assert "client_id" not in heard
        await alice.expect_nothing()
        await gateway.run(rooms_of(gateway).edit_message(sender, "lobby", heard["id"], body={"number": 2}))
        await alice.expect("chat.edited", id=heard["id"], body={"number": 2})
        await gateway.run(rooms_of(gateway).delete_message(sender, "lobby", heard["id"]))
        await alice.expect("chat.deleted", id=heard["id"])
        history = await alice.ask("chat.history", room="lobby")
        assert [(each["sender"], each["deleted"]) for each in history["messages"]] == [("alice", False), (NAME, True)]


async def test_a_service_deletes_but_never_edits_the_message_of_a_user(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender = await service_of(gateway)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        message = await alice.say("lobby", "one")
        with pytest.raises(Forbidden, match="only its author"):
            await gateway.run(rooms_of(gateway).edit_message(sender, "lobby", message["id"], text="forged"))
        await gateway.run(rooms_of(gateway).delete_message(sender, "lobby", message["id"]))
        await alice.expect("chat.deleted", id=message["id"])


async def test_a_private_room_hears_a_service_that_is_no_member(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender = await service_of(gateway)
    async with App(gateway) as app, app.connect("alice") as alice:
        await alice.ask("room.create", room="attic", private=True)
        await alice.ask("room.join", room="attic")
        await gateway.run(rooms_of(gateway).publish_message(sender, "attic", text="psst"))
        await alice.expect("chat.message", sender=NAME, text="psst")
        members = (await alice.ask("room.members", room="attic"))["members"]
        assert [each["user"] for each in members] == ["alice"]


async def test_a_room_of_a_service_has_no_owner_and_stays_without_members(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender, kept = await service_of(gateway), rooms_of(gateway)
    await gateway.run(kept.create(sender, "news", title="The news", private=False))
    with pytest.raises(Conflict, match="exists already"):
        await gateway.run(kept.create(sender, "news", title=None, private=False))
    async with App(gateway) as app, app.in_room("alice", "news") as alice:
        listed = (await alice.ask("room.list"))["rooms"]
        assert [(room["name"], room["title"], room["role"]) for room in listed] == [("news", "The news", "member")]
        assert (await alice.refused("room.update", room="news", title="Mine"))["status"] == 40300
        await alice.ask("room.leave", room="news")
        await alice.expect("room.left", user="alice")
        assert (await alice.ask("room.join", room="news"))["members"] == 1
        assert (await alice.refused("room.delete", room="news"))["status"] == 40300


async def test_a_service_puts_users_into_rooms_and_removes_them(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender, kept = await service_of(gateway), rooms_of(gateway)
    await gateway.run(kept.create(sender, "team", title=None, private=True))
    async with App(gateway) as app, app.connect("alice") as alice, app.connect("bob") as bob:
        assert (await alice.refused("room.join", room="team"))["status"] == 40400
        entered = await gateway.run(kept.put_member("team", "alice", "moderator", by=NAME))
        assert (entered.is_new, entered.room.role) == (True, "moderator")
        added = await alice.expect("room.added", by=NAME)
        assert (added["room"]["name"], added["room"]["role"]) == ("team", "moderator")
        await alice.ask("room.join", room="team")
        await gateway.run(kept.put_member("team", "bob", None, by=NAME))
        await alice.expect("room.joined", user="bob")
        await bob.expect("room.added", by=NAME)
        await bob.ask("room.join", room="team")

        again = await gateway.run(kept.put_member("team", "bob", "owner", by=NAME))
        assert (again.is_new, again.room.role) == (False, "owner")
        for client in (alice, bob):
            await client.expect("room.role", user="bob", role="owner")
        await gateway.run(kept.put_member("team", "bob", None, by=NAME))
        await gateway.run(kept.put_member("team", "bob", "member", by=NAME))  # a kept room needs no owner
        for client in (alice, bob):
            await client.expect("room.role", user="bob", role="member")

        await gateway.run(kept.remove_member("team", "bob", by=NAME, state=None))
        for client in (alice, bob):
            await client.expect("room.left", user="bob", by=NAME)
        await gateway.run(kept.publish_message(sender, "team", text="bob is gone"))
        await alice.expect("chat.message", text="bob is gone")
        await bob.expect_nothing()
        assert (await bob.refused("room.join", room="team"))["status"] == 40400
        with pytest.raises(NotFound, match="`bob` is not a member"):
            await gateway.run(kept.remove_member("team", "bob", by=NAME, state=None))


@pytest.mark.both_stores
async def test_a_disabled_user_can_be_removed_and_not_put(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender, kept = await service_of(gateway), rooms_of(gateway)
    await gateway.run(kept.create(sender, "team", title=None, private=False))
    async with App(gateway) as app, app.in_room("alice", "team") as alice, app.in_room("bob", "team"):
        await alice.expect("room.joined", user="bob")
        disable = partial(users.set_disabled, name="bob", disabled_at=milliseconds(gateway.clock))
        await gateway.run(gateway.state.database.transact(disable))
        await gateway.run(kept.remove_member("team", "bob", by=NAME, state=None))
        await alice.expect("room.left", user="bob", by=NAME)
        for work in (
            kept.put_member("team", "bob", None, by=NAME),
            kept.remove_member("team", "nobody", by=NAME, state=None),
            kept.remove_member("team", NAME, by=NAME, state=None),
        ):
            with pytest.raises(NotFound, match="there is no user"):
                await gateway.run(work)


async def test_a_user_that_the_service_adds_owns_the_room_that_has_no_other_member(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender = await service_of(gateway)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice, app.connect("bob") as bob:
        await alice.say("lobby", "kept for the next one")
        await alice.ask("room.leave", room="lobby")
        await gateway.run(rooms_of(gateway).put_member("lobby", "bob", None, by=sender.name))
        added: Frame = await bob.expect("room.added")
        assert added["room"]["role"] == "owner"
        with pytest.raises(Conflict, match="needs an owner"):
            await gateway.run(rooms_of(gateway).put_member("lobby", "bob", "member", by=sender.name))


async def test_a_removal_takes_an_invitation_back(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    await service_of(gateway)
    async with App(gateway) as app, app.connect("alice") as alice, app.connect("bob") as bob:
        await alice.ask("room.create", room="attic", private=True)
        await alice.ask("room.invite", room="attic", user="bob")
        await bob.expect("room.invited")
        await gateway.run(rooms_of(gateway).remove_member("attic", "bob", by=NAME, state=None))
        await bob.expect("room.left", user="bob", by=NAME)
        assert (await bob.refused("room.join", room="attic"))["status"] == 40400


async def test_a_room_is_renamed_and_deleted_for_its_listeners(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await gateway.run(rooms_of(gateway).update("lobby", title="Hall", private=None))
        shown = (await alice.expect("room.updated"))["room"]
        assert (shown["title"], "role" in shown) == ("Hall", False)
        await gateway.run(rooms_of(gateway).update("lobby", title="Hall", private=None))
        await gateway.run(rooms_of(gateway).delete("lobby", state=None))
        await alice.expect("room.deleted", room="lobby")
        with pytest.raises(NotFound):
            await gateway.run(rooms_of(gateway).delete("lobby", state=None))


async def test_an_event_reaches_a_room_a_user_or_all(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    own = rooms_of(gateway)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice, app.connect("bob") as bob:
        await gateway.run(own.publish_event("lobby", "orders.changed", {"id": 7}))
        await alice.expect("orders.changed", id=7)
        await gateway.run(own.publish_to_user("bob", "orders.changed", {"id": 8}))
        await bob.expect("orders.changed", id=8)
        assert await gateway.run(own.publish_to_all("orders.changed", {"id": 9})) == 2
        for client in (alice, bob):
            await client.expect("orders.changed", id=9)
            await client.expect_nothing()


@pytest.mark.parametrize(
    ("type", "data", "error"),
    [
        ("chat.message", {}, ValidationFailed),
        ("room.added", {}, ValidationFailed),
        ("bye", {}, ValidationFailed),
        ("reply", {}, ValidationFailed),
        ("error", {}, ValidationFailed),
        ("", {}, ValidationFailed),
        ("a b", {}, ValidationFailed),
        ('a"b', {}, ValidationFailed),
        ("a\n", {}, ValidationFailed),
        ("a" * 65, {}, ValidationFailed),
        ("orders.changed", {"text": "x" * 300_000}, TooLarge),
    ],
)
async def test_no_event_of_a_service_is_like_one_of_ours(
    gateway: Gateway, type: str, data: Any, error: type[MessageError]
) -> None:
    with pytest.raises(error):
        await gateway.run(rooms_of(gateway).publish_to_all(type, data))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"text": ""},
        {"text": "x" * 4001},
        {"text": "a\0"},
        {"text": "\ud800"},
        {"text": "a", "body": 1},
        {"body": "x" * 70_000},
    ],
)
async def test_no_message_of_a_service_is_one_that_no_user_could_send(
    own_gateway: OwnGateway, content: dict[str, Any]
) -> None:
    gateway = own_gateway()
    sender = await service_of(gateway)
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        with pytest.raises((ValidationFailed, TooLarge)):
            await gateway.run(rooms_of(gateway).publish_message(sender, "lobby", **content))
        await alice.expect_nothing()


async def test_what_does_not_exist_is_not_found(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender, own = await service_of(gateway), rooms_of(gateway)
    async with App(gateway) as app, app.connect("alice"):
        for work in (
            own.publish_message(sender, "nowhere", text="hello"),
            own.publish_event("nowhere", "orders.changed", {}),
            own.publish_to_user("nobody", "orders.changed", {}),
            own.publish_to_user(NAME, "orders.changed", {}),
            own.put_member("nowhere", "alice", None, by=NAME),
            own.remove_member("nowhere", "alice", by=NAME, state=None),
            own.delete_message(sender, "nowhere", "x.1"),
        ):
            with pytest.raises(NotFound):
                await gateway.run(work)


async def test_a_direct_room_stays_as_it_is_but_hears_services(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    sender, own = await service_of(gateway), rooms_of(gateway)
    async with App(gateway) as app, app.connect("alice") as alice, app.connect("bob") as bob, app.connect("carol"):
        room = (await alice.ask("direct.open", user="bob"))["room"]["name"]
        await bob.expect("room.invited")
        for work in (
            own.put_member(room, "carol", None, by=NAME),
            own.remove_member(room, "alice", by=NAME, state=None),
            own.update(room, title="x", private=None),
            own.delete(room, state=None),
            own.create(sender, "dm-abc", title=None, private=True),
        ):
            with pytest.raises(Forbidden):
                await gateway.run(work)
        await gateway.run(own.publish_message(sender, room, text="hello"))


async def test_the_quotas_of_users_and_rooms_hold_but_none_counts_what_services_store(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(
        max_rooms_joined=1, max_rooms_owned=1, max_stored_bytes_per_user=1000, max_stored_bytes_per_room=3000
    )
    sender, own = await service_of(gateway), rooms_of(gateway)
    for name in ("one", "two", "three"):
        await gateway.run(own.create(sender, name, title=None, private=True))
    async with App(gateway) as app, app.connect("alice") as alice:
        await gateway.run(own.put_member("one", "alice", "owner", by=NAME))
        await alice.expect("room.added")
        with pytest.raises(QuotaExceeded, match="`alice` is in 1 rooms"):
            await gateway.run(own.put_member("two", "alice", None, by=NAME))
        await gateway.run(own.publish_message(sender, "one", text="x" * 2000))
        with pytest.raises(QuotaExceeded, match="the room's messages"):
            await gateway.run(own.publish_message(sender, "one", text="x" * 2000))
        await alice.expect_nothing()
