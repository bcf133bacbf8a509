"""`message.unseen`: for members that have neither a connection nor read the message by then."""

from functools import partial

import pytest
from sqlalchemy import Connection

from gateway.store import rooms, users
from gateway.testing import Gateway
from gateway.webhooks.unseen import page_id
from tests.conftest import OwnGateway
from tests.gateway.webhooks.conftest import figures_of, is_empty
from tests.support.client import App, ChatClient, Frame
from tests.support.metrics import metrics_of
from tests.support.receivers import Receiver, use_hooks
from tests.support.users import add_users
from tests.support.waiting import until

pytestmark = [pytest.mark.both_stores, pytest.mark.usefixtures("looks_often")]


async def send(client: ChatClient, text: str) -> Frame:
    number = await client.start("chat.send", room="lobby", text=text)
    message: Frame = (await client.until(id=number))["data"]["message"]
    return message


async def was_here(app: App, *names: str) -> None:
    """Let users join the room and go."""
    for name in names:
        async with app.in_room(name, "lobby"):
            pass
    await until(lambda: app.gateway.state.connections.count <= 1)


async def test_members_without_a_connection_or_a_read_mark_are_named(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.unseen", unseen_seconds=30))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await was_here(app, "bobby", "carol", "david", "erika")
        said = await send(alice, "hello")
        async with app.in_room("carol", "lobby") as carol:  # has read it, and is gone again
            await carol.ask("chat.read", room="lobby", offset=said["offset"])
        async with app.connect("david"):  # is connected, although not in the room
            await gateway.run(gateway.state.database.transact(disable_erika))
            await until(lambda: gateway.state.connections.count == 2)
            assert receiver.got == []
            gateway.clock.ahead += 31
            [event] = await receiver.expect(1)
    assert (event.type, event.data["users"], event.verified) == ("message.unseen", ["bobby"], True)
    assert event.data["message"] == said
    await until(lambda: is_empty(gateway))


async def test_an_event_that_is_not_due_is_not_old(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.unseen", unseen_seconds=3600))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await was_here(app, "bobby")
        await send(alice, "hello")
        await until(lambda: is_counted(app))
        gateway.clock.ahead += 3000
        assert (await metrics_of(app))['gateway_hook_oldest_seconds{hook="push"}'] == 0
    assert receiver.got == []


async def is_counted(app: App) -> bool:
    return (await metrics_of(app))['gateway_hook_events_waiting{hook="push",state="waiting"}'] == 1


def disable_erika(connection: Connection) -> None:
    users.set_disabled(connection, "erika", 1)


async def test_a_deleted_message_is_not_sent_and_an_edited_one_as_it_is_now(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.unseen", unseen_seconds=30))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await was_here(app, "bobby")
        first, second = await send(alice, "first"), await send(alice, "second")
        number = await alice.start("chat.delete", room="lobby", message_id=first["id"])
        await alice.until(id=number)
        number = await alice.start("chat.edit", room="lobby", message_id=second["id"], text="better")
        await alice.until(id=number)
        gateway.clock.ahead += 31
        [event] = await receiver.expect(1)
    assert event.data["message"]["text"] == "better"
    await until(lambda: is_empty(gateway))


async def test_a_message_that_all_have_seen_and_one_of_a_deleted_room_go_nowhere(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.unseen", unseen_seconds=30))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await send(alice, "to nobody")
        await was_here(app, "bobby")
        await alice.heard()
        await send(alice, "to a room that is deleted")
        number = await alice.start("room.delete", room="lobby")
        await alice.until(id=number)
        assert (await figures_of(gateway)).waiting == 2
        gateway.clock.ahead += 31
        await until(lambda: is_empty(gateway))
    assert receiver.got == []


async def test_many_users_come_in_pages_with_ids_of_their_own(own_gateway: OwnGateway, receiver: Receiver) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.unseen", unseen_seconds=30))
    names = [f"member-{number:04}" for number in range(1100)]
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        # A busy machine needs some seconds for them.
        await gateway.run(gateway.state.database.transact(partial(add_members, names), limited=False))
        await send(alice, "hello")
        receiver.answer = lambda _: 500
        gateway.clock.ahead += 31
        await until(lambda: receiver.got)
        receiver.answer = lambda _: 204
        gateway.clock.ahead += 6
        await until(lambda: is_empty(gateway))
    events = {event.id: event for event in receiver.got}
    assert [len(event.data["users"]) for event in events.values()] == [500, 500, 100]
    assert sorted(name for event in events.values() for name in event.data["users"]) == names
    first, *more = events
    assert more == [page_id(first, 2), page_id(first, 3)]
    assert {(event.id, event.body) for event in receiver.got} == {(id, event.body) for id, event in events.items()}


def add_members(names: list[str], connection: Connection) -> None:
    room = rooms.by_name(connection, "lobby")
    assert room is not None
    for user in add_users(connection, names):
        rooms.add_member(connection, room, user.id, "member", 0)


async def test_a_push_that_waits_for_its_time_survives_a_retry_by_hand(
    own_gateway: OwnGateway, receiver: Receiver
) -> None:
    gateway = own_gateway()
    await use_hooks(gateway, receiver.hook("message.unseen", unseen_seconds=600))
    async with App(gateway) as app, app.in_room("alice", "lobby") as alice:
        await was_here(app, "bobby")
        await send(alice, "hello")
        await retry(gateway)
        gateway.clock.ahead += 500
        assert (await figures_of(gateway)).waiting == 1
        gateway.clock.ahead += 101
        await receiver.expect(1)


async def retry(gateway: Gateway) -> None:
    from gateway.store import outgoing_events

    await gateway.run(gateway.state.database.transact(partial(outgoing_events.retry, webhook="push")))
