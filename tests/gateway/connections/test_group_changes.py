"""A group that shrinks counts for open connections too, on every node."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.auth import groups
from gateway.auth.room_rights import Right, RoomRights
from gateway.chat.session import ChatSession
from gateway.connections.group_changes import GroupWatcher
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.gateway.auth.forging import claims_of
from tests.gateway.chat.verbs.test_authorize import asking
from tests.support.client import App, ChatClient
from tests.support.nodes import running_nodes
from tests.support.postgres import fresh_database
from tests.support.upstreams import Conversation
from tests.support.valkey import Valkey
from tests.support.waiting import until

pytestmark = pytest.mark.both_stores


async def change(gateway: Gateway, work: Callable[[Connection], Any]) -> None:
    """Change groups as a command does: in the store, without a word to the gateway."""
    await gateway.run(gateway.state.database.transact(work))


def set_rights(name: str, **claim: list[str]) -> Callable[[Connection], Any]:
    return partial(groups.set_rights, name=name, rights=RoomRights.parse(claim))


def _is_limited(gateway: Gateway) -> bool:
    """Return whether the connections of Alice have no right to join the room `red` any more."""
    sessions = [each for each in gateway.state.connections.all() if isinstance(each, ChatSession)]
    rights = [each.room_rights for each in sessions if each.user == "alice"]
    return all(each is not None and not each.allows(Right.JOIN, "red") for each in rights)


async def limited(client: ChatClient, room: str) -> None:
    """Wait until the client must join a room again, and find that it may not."""
    await client.expect("resync", room=room)
    assert (await client.refused("room.join", room=room))["status"] == 40300


async def test_a_connection_stops_hearing_what_its_users_groups_allow_no_more(
    gateway: Gateway, app: App, alice: str, bob: str, room: str
) -> None:
    red, blue, group = f"{room}-red", f"{room}-blue", f"group-{room}"
    await change(gateway, set_rights(group, **{red: ["join", "send"], blue: ["join"]}))
    async with app.in_room(bob, red) as of_bob, app.in_room(alice, red) as of_alice:
        for client in (of_bob, of_alice):
            await client.heard()
            await client.ask("room.join", room=blue)
        await of_bob.heard()
        join = partial(groups.join, user_id=claims_of(await app.token(alice))["sub"], names=[group])
        await change(gateway, join)  # nothing that she hears is lost yet
        await change(gateway, set_rights(group, **{red: ["join"]}))
        await limited(of_alice, blue)
        assert (await of_alice.refused("chat.send", room=red, text="no"))["status"] == 40300
        await of_bob.say(blue, "not for Alice")
        await of_bob.say(red, "for Alice")
        await of_alice.expect("chat.message", text="for Alice")
        # More rights come with the next token.
        await change(gateway, set_rights(group, **{red: ["join", "send"], blue: ["join"]}))
        await gateway.run(GroupWatcher(gateway.state.database, gateway.state.connections).limit_all())
        assert (await of_alice.refused("room.join", room=blue))["status"] == 40300
        await of_alice.ask("auth.refresh", token=await app.token(alice))
        await of_alice.ask("room.join", room=blue)
        await of_alice.say(red, "again")
        await of_bob.expect("chat.message", text="again")
        await of_bob.expect_nothing()


async def test_a_user_that_comes_into_a_group_is_limited_and_others_are_not(
    gateway: Gateway, app: App, alice: str, bob: str, room: str
) -> None:
    group = f"group-{room}"
    await change(gateway, set_rights(group))
    async with app.in_room(bob, room) as of_bob, app.in_room(alice, room) as of_alice:
        await of_bob.heard()
        join = partial(groups.join, user_id=claims_of(await app.token(alice))["sub"], names=[group])
        await change(gateway, join)
        await limited(of_alice, room)
        await of_bob.say(room, "only for Bob")
        await of_alice.expect_nothing()
        await of_alice.ask("room.leave", room=room)
        await of_bob.expect("room.left", user=alice)


async def test_a_connection_of_another_node_is_limited_too(valkey: Valkey, postgres: str, tmp_path: Path) -> None:
    with fresh_database(postgres) as url, running_nodes(tmp_path, url, valkey) as (one, two):
        async with App(one) as here, App(two) as there, there.in_room("alice", "lobby") as of_alice:
            await change(one, set_rights("guests", other=["join"]))
            user_id = claims_of(await here.token("alice"))["sub"]
            await change(one, partial(groups.join, user_id=user_id, names=["guests"]))
            await limited(of_alice, "lobby")


async def test_a_join_that_waits_is_limited_too(own_gateway: OwnGateway, tmp_path: Path) -> None:
    may_answer = asyncio.Event()

    async def slow(client: Conversation) -> None:
        while True:
            if (await client.request()).json["user"] == "alice":
                await may_answer.wait()
            await client.answer({"allow": True})

    async with asking(own_gateway, tmp_path, slow) as (app, upstream), app.in_room("bob", "red") as bob:
        gateway = app.gateway
        await change(gateway, set_rights("team", red=["join"], blue=["join"]))
        async with app.connect("alice") as alice:
            join = partial(groups.join, user_id=claims_of(await app.token("alice"))["sub"], names=["team"])
            await change(gateway, join)
            await alice.start("room.join", room="red")
            await until(lambda: upstream.requests[-1].json["user"] == "alice")
            await change(gateway, set_rights("team", blue=["join"]))
            await until(lambda: _is_limited(gateway))
            may_answer.set()
            await alice.expect("reply", status=20000)
            await limited(alice, "red")
            await bob.expect("room.joined", user="alice")
            await bob.say("red", "not for Alice")
            await alice.expect_nothing()
