"""A huge room that is deleted: gone at once for all users, and removed bit by bit while others are served."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, text

from gateway.rooms import removal
from gateway.store import pruning
from gateway.store.engine import Database
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App
from tests.support.waiting import WAIT_SECONDS, until

MANY = 6000


async def count(gateway: Gateway, table: str, condition: str = "true") -> int:
    def read(connection: Connection) -> int:
        found: int = connection.execute(text(f"SELECT count(*) FROM {table} WHERE {condition}")).scalar_one()
        return found

    return await gateway.run(gateway.state.database.query(read))


async def fill(gateway: Gateway, room: str, messages: int, members: int = 0) -> None:
    """Put rows into a room that would take long to send."""

    def write(connection: Connection) -> None:
        for sql in (
            f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {messages})
            INSERT INTO messages (room_id, "offset", changed, sender_id, text, sent_at)
            SELECT (SELECT id FROM rooms WHERE name = '{room}'), i, i, (SELECT min(id) FROM users), 'old', 0
            FROM n""",
            f"""UPDATE rooms SET "offset" = {messages} WHERE name = '{room}'""",
            f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {max(members, 1)})
            INSERT INTO users (id, name, password_hash, scopes, disabled, created_at)
            SELECT 'extra-' || i, 'extra-' || i, 'x', '', false, 0 FROM n""",
            f"""INSERT INTO memberships (room_id, user_id, role, joined_at) SELECT
            (SELECT id FROM rooms WHERE name = '{room}'), id, 'member', 0 FROM users WHERE id LIKE 'extra-%'""",
            f"UPDATE rooms SET arrivals = arrivals + {max(members, 1)} WHERE name = '{room}'",
        ):
            connection.execute(text(sql))

    await gateway.run(gateway.state.database.transact(write))


async def test_others_talk_while_a_huge_room_goes_and_its_name_is_free_at_once(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "FEWEST", 50)
    monkeypatch.setattr(removal, "MOST", 50)
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "huge") as alice, app.in_room("bob", "lobby") as bob:
        await fill(gateway, "huge", MANY, members=200)
        await alice.ask("room.delete", room="huge")
        await alice.expect("room.deleted", room="huge")
        for number in range(10):
            await bob.say("lobby", str(number))
        assert await count(gateway, "messages") > MANY / 2  # they had their turns in between

        joined = await alice.ask("room.join", room="huge")
        assert (joined["offset"], joined["members"], joined["messages"]) == (0, 1, [])
        listed = (await bob.ask("room.list"))["rooms"]
        assert [(room["name"], room["offset"]) for room in listed] == [("huge", 0), ("lobby", 10)]
        said = await alice.say("huge", "new")

        async def only_the_new_are_left() -> bool:
            return await count(gateway, "messages") == 11

        monkeypatch.setattr(removal, "MOST", 2000)
        await until(only_the_new_are_left, 3 * WAIT_SECONDS)
        await until(lambda: is_gone(gateway))
        assert (await alice.ask("chat.history", room="huge"))["messages"] == [said]
        assert await count(gateway, "memberships") == 2


async def is_gone(gateway: Gateway) -> bool:
    return await count(gateway, "rooms", "removed_at IS NOT NULL") == 0


@pytest.mark.parametrize("most", [1, 4])  # before the memberships, and in the middle of the messages
async def test_what_a_gateway_that_died_has_left_is_not_seen_and_goes_with_the_next(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    steps = 0
    remove_rows = pruning.remove_rows

    def die(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > most:
            raise RuntimeError("died")
        return remove_rows(*arguments)

    monkeypatch.setattr(pruning, "remove_rows", die)
    monkeypatch.setattr(removal, "MOST", 50)
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "huge") as alice:
        await alice.ask("room.join", room="zoo")
        await fill(gateway, "huge", 500)
        await alice.ask("room.delete", room="huge")
        await alice.expect("room.deleted", room="huge")
        await until(lambda: steps > most)
        assert await count(gateway, "memberships") == {1: 3, 4: 1}[most]
        assert 0 < await count(gateway, "messages") <= {1: 500, 4: 300}[most]
        listed = await alice.ask("room.list", limit=1)
        assert [room["name"] for room in listed["rooms"]] == ["zoo"]
        assert (await alice.refused("chat.history", room="huge"))["status"] == 40400

    monkeypatch.setattr(pruning, "remove_rows", remove_rows)
    second = own_gateway()
    await until(lambda: is_gone(second))
    assert await count(second, "messages") == 0


async def test_two_nodes_that_remove_the_same_room_do_no_harm(own_gateway: OwnGateway, store_url: str) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "huge") as alice:
        await fill(gateway, "huge", 2000)
        other = Database(store_url)
        await alice.ask("room.delete", room="huge")
        await asyncio.gather(*(removal.RoomRemover(other).remove_all() for _ in range(2)))
        await until(lambda: is_gone(gateway))
        assert await count(gateway, "messages") == 0
        await other.close()


async def test_the_last_member_of_a_private_room_that_leaves_waits_for_nothing_either(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.connect("alice") as alice:
        await alice.ask("room.create", room="diary", private=True)
        await alice.ask("room.join", room="diary")
        await alice.say("diary", "dear diary")
        await alice.ask("room.leave", room="diary")
        await until(lambda: is_gone(gateway))
        assert await count(gateway, "messages") == 0
