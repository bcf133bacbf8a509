"""Groups: their members have their rights together, and the tokens of members say so."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from gateway.auth import groups
from gateway.auth.room_rights import RoomRights, rights_of
from gateway.store import groups as stored
from gateway.store import users
from gateway.store.engine import Database
from gateway.store.tables import group_members
from gateway.testing import Gateway
from handlers.errors import Conflict, NotFound, QuotaExceeded
from tests.conftest import OwnGateway
from tests.gateway.auth.forging import claims_of
from tests.support.client import App
from tests.support.users import add_users

pytestmark = pytest.mark.both_stores

Set = Callable[..., int]


def set_rights(name: str, **claim: list[str]) -> Callable[[Connection], int]:
    return partial(groups.set_rights, name=name, rights=RoomRights.parse(claim))


async def rights_in(database: Database, name: str) -> dict[str, list[str]] | None:
    user = await database.query(partial(users.by_name, name=name))
    assert user is not None
    rights = rights_of(user.room_rights)
    return None if rights is None else rights.claim


async def test_a_user_has_the_rights_of_all_its_groups_and_none_without_one(database: Database) -> None:
    alice, bob = await database.transact(partial(add_users, names=["alice", "bob"]))
    assert await database.transact(set_rights("red", red=["join"])) == 0
    await database.transact(set_rights("blue", blue=["join", "send"], red=["send"]))
    assert await database.transact(partial(groups.join, user_id=alice.id, names=["red"])) == ["red"]
    assert await rights_in(database, "alice") == {"red": ["join"]}
    both = partial(groups.join, user_id=alice.id, names=["blue", "red", "blue"])
    assert await database.transact(both) == ["blue", "red"]
    assert await rights_in(database, "alice") == {"blue": ["join", "send"], "red": ["join", "send"]}
    assert await rights_in(database, "bob") is None
    await database.transact(partial(groups.join, user_id=bob.id, names=["red"]))
    assert await database.transact(set_rights("red", green=["create"])) == 2
    assert await rights_in(database, "alice") == {"blue": ["join", "send"], "green": ["create"], "red": ["send"]}
    assert await rights_in(database, "bob") == {"green": ["create"]}
    listed = await database.query(stored.list_all)
    assert [(row.name, row.members) for row in listed] == [("blue", 1), ("red", 2)]
    with pytest.raises(Conflict, match="the group red has 2 members"):
        await database.transact(partial(groups.remove, name="red"))
    assert await database.transact(partial(groups.leave, user_id=alice.id, names=["red", "red"])) == ["blue"]
    assert await database.transact(partial(groups.leave, user_id=bob.id, names=["red", "blue"])) == []
    assert await rights_in(database, "bob") is None
    await database.transact(partial(groups.remove, name="red"))
    for change in (
        partial(groups.remove, name="red"),
        partial(groups.join, user_id=bob.id, names=["blue", "red"]),
        partial(groups.leave, user_id=bob.id, names=["red"]),
    ):
        with pytest.raises(NotFound, match="there is no group red"):
            await database.transact(change)
    assert await rights_in(database, "bob") is None  # nothing of a refused change is kept


async def test_a_group_without_rights_closes_all_rooms_to_its_members(database: Database) -> None:
    (alice,) = await database.transact(partial(add_users, names=["alice"]))
    await database.transact(set_rights("none"))
    await database.transact(partial(groups.join, user_id=alice.id, names=["none"]))
    assert await rights_in(database, "alice") == {}


async def test_rights_that_no_token_could_hold_are_refused(database: Database) -> None:
    (alice,) = await database.transact(partial(add_users, names=["alice"]))
    for group in range(2):
        await database.transact(set_rights(f"g{group}", **{f"{group}-{number}": ["join"] for number in range(33)}))
    await database.transact(partial(groups.join, user_id=alice.id, names=["g0"]))
    with pytest.raises(QuotaExceeded, match="the rights of g0 and g1: expected at most 64 patterns, got 66"):
        await database.transact(partial(groups.join, user_id=alice.id, names=["g1"]))
    await database.transact(set_rights("g1", extra=["join"]))
    await database.transact(partial(groups.join, user_id=alice.id, names=["g1"]))
    with pytest.raises(QuotaExceeded, match="at most 64 patterns"):
        await database.transact(set_rights("g1", **{f"1-{number}": ["join"] for number in range(33)}))
    long = {f"{number}{'x' * 60}": ["create", "join", "send"] for number in range(20)}
    with pytest.raises(QuotaExceeded, match="the rights of long: expected at most 1400 characters, got"):
        await database.transact(set_rights("long", **long))
    assert len(await rights_in(database, "alice") or {}) == 34


async def test_of_changes_at_the_same_time_none_is_lost(database: Database) -> None:
    rows = await database.transact(partial(add_users, names=[f"user-{number}" for number in range(1200)]))
    ids = [row.id for row in rows]

    def fill(connection: Connection) -> None:
        rows = [{"group_name": name, "user_id": user_id} for user_id in ids for name in ("red", "blue")]
        connection.execute(insert(group_members), rows)

    for name in ("red", "blue"):
        await database.transact(set_rights(name))
    await database.transact(fill)
    for number in range(3):
        changes = [set_rights(name, **{f"{name}-{number}": ["join"]}) for name in ("red", "blue")]
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            for change in changes:
                tasks.create_task(database.transact(change))
        expected = {f"{name}-{number}": ["join"] for name in ("red", "blue")}
        for name in ("user-0", "user-1199"):
            assert await rights_in(database, name) == expected


async def test_tokens_say_what_the_groups_of_their_user_allow_and_a_smaller_group_counts_at_once(
    gateway: Gateway, app: App, alice: str, bob: str, room: str
) -> None:
    async def change(work: Callable[[Connection], Any]) -> None:
        await gateway.run(gateway.state.database.transact(work))

    async def allowed(token: str) -> list[str]:
        """Return the rooms that a new connection with a token may join."""
        async with app.connect_with(token) as client:
            rooms = [{"room": name} for name in names]
            parts = (await client.ask("room.resume", rooms=rooms))["rooms"]
            return [part["room"] for part in parts if "error" not in part]

    names = [f"{room}-red", f"{room}-blue", f"{room}-other"]
    async with app.connect(bob) as owner:
        for name in names:
            await owner.ask("room.create", room=name)
    unlimited = await app.token(alice)
    assert "rooms" not in claims_of(unlimited)
    assert await allowed(unlimited) == names
    group = f"group-{room}"
    await change(set_rights(group, **{f"{room}-red": ["join"], f"{room}-blue": ["join"]}))
    user_id = claims_of(unlimited)["sub"]
    await change(partial(groups.join, user_id=user_id, names=[group]))
    assert await allowed(unlimited) == names[:2]  # a token from before is no way around the group

    grant = (await app.log_in(alice)).json()
    limited = grant["access_token"]
    assert claims_of(limited)["rooms"] == {f"{room}-red": ["join"], f"{room}-blue": ["join"]}
    assert await allowed(limited) == names[:2]
    ticket = (await app.ask("POST", "/ws/ticket", limited)).json()["ticket"]
    await change(set_rights(group, **{f"{room}-red": ["join"], f"{room}-other": ["join"]}))
    assert await allowed(limited) == names[:1]  # what is new counts from the next token, as new scopes do
    async with app.socket(f"?ticket={ticket}") as client:
        await client.expect("welcome")
        await client.ask("room.join", room=names[0])
        assert (await client.refused("room.join", room=names[1]))["status"] == 40300
        assert (await client.refused("room.join", room=names[2]))["status"] == 40300
        renewed = (await app.refresh(grant["refresh_token"])).json()["access_token"]
        assert claims_of(renewed)["rooms"] == {f"{room}-red": ["join"], f"{room}-other": ["join"]}
        await client.ask("auth.refresh", token=renewed)
        await client.ask("room.join", room=names[2])
    await change(partial(groups.leave, user_id=user_id, names=[group]))
    assert await allowed(renewed) == [names[0], names[2]]  # of the token, and no more
    assert await allowed(await app.token(alice)) == names


async def test_new_users_begin_in_the_default_group(own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway = own_gateway(default_group="new")
    async with App(gateway) as app:
        for name in ("alice", "bob"):
            closed = await app.register(name)
            assert (closed.status_code, closed.json()["status"]) == (403, 40300)
            assert "new" not in closed.json()["message"]
        assert caplog.text.count("there is no group new, which GATEWAY_DEFAULT_GROUP names") == 1
        assert (await app.log_in("alice")).status_code == 401  # nothing of it is stored
        await gateway.run(gateway.state.database.transact(set_rights("new", lobby=["join", "create"])))
        grants = [await app.grant(name) for name in ("alice", "bob")]
        assert all(claims_of(grant["access_token"])["rooms"] == {"lobby": ["create", "join"]} for grant in grants)
        async with app.connect_with(grants[0]["access_token"]) as client:
            await client.ask("room.join", room="lobby")
            assert (await client.refused("room.join", room="other"))["status"] == 40300
        listed = await gateway.run(gateway.state.database.query(stored.list_all))
        assert [(row.name, row.members) for row in listed] == [("new", 2)]
        await gateway.run(gateway.state.database.transact(set_rights("new", other=["join"])))
        assert await gateway.run(rights_in(gateway.state.database, "bob")) == {"other": ["join"]}
