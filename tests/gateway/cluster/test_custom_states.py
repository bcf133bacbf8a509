"""Custom states of users in rooms, on all nodes together."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.cluster.dead_nodes import DeadNodeReaper
from gateway.cluster.roster import SharedRoster
from gateway.cluster.shared_state import Change
from gateway.core.clock import SystemClock
from gateway.store.engine import Database
from gateway.testing import Gateway
from tests.gateway.cli.command import Served
from tests.gateway.cluster.conftest import LEASE_SECONDS, Node, RunNode, RunNodes
from tests.support.client import App, ChatClient
from tests.support.valkey import Valkey
from tests.support.waiting import until

SOON = 6 * LEASE_SECONDS


async def bring(node: Node, *users: str) -> None:
    """Let users be online in the lobby, on a node."""
    for user in users:
        node.roster.set_state(user, None, "online", set)
        node.roster.enter_room("lobby", user)
    await node.settled()
    node.news.clear()


async def set_on(node: Node, state: str | None) -> None:
    """Set Bob's state in the lobby on a node, and wait until the node has announced what that changes."""
    node.roster.set_custom_state("lobby", "bob", state)
    await node.settled()


async def seen(*nodes: Node) -> list[dict[str, str]]:
    """Return the states in the lobby as nodes see them."""
    return [await node.roster.custom_states("lobby", ["bob", "carol"]) for node in nodes]


async def test_all_nodes_see_a_state_and_the_room_hears_of_it_once(run_node: RunNode) -> None:
    async with run_node() as one, run_node() as other, run_node() as third:
        await bring(one, "bob")
        await set_on(one, '{"a":1}')
        assert one.news == [("lobby", "bob", "online", '{"a":1}')]
        assert await seen(one, other, third) == [{"bob": '{"a":1}'}] * 3
        await set_on(one, '{"a":1}')
        await set_on(one, None)
        assert one.news[1:] == [("lobby", "bob", "online")]
        assert await seen(one, other, third) == [{}] * 3
        assert (other.news, third.news) == ([], [])


async def test_of_the_states_on_two_nodes_the_one_that_was_set_last_counts_everywhere(run_node: RunNode) -> None:
    async with run_node() as one, run_node() as other, run_node() as third:
        await bring(one, "bob")
        await bring(other, "bob")
        for number in range(3):
            await set_on(one, f'{{"one":{number}}}')
        assert await seen(one, other, third) == [{"bob": '{"one":2}'}] * 3
        await set_on(other, '{"other":1}')
        assert other.news == [("lobby", "bob", "online", '{"other":1}')]
        assert await seen(one, other, third) == [{"bob": '{"other":1}'}] * 3
        await set_on(one, '{"one":3}')
        assert await seen(one, other, third) == [{"bob": '{"one":3}'}] * 3
        # The older state counts again when the newer one has gone, and one that does not count goes quietly.
        await set_on(one, None)
        assert one.news[-1] == ("lobby", "bob", "online", '{"other":1}')
        assert await seen(one, other, third) == [{"bob": '{"other":1}'}] * 3
        await set_on(one, '{"one":4}')
        other.news.clear()
        await set_on(other, None)
        assert other.news == []
        assert await seen(one, other, third) == [{"bob": '{"one":4}'}] * 3


async def test_states_that_are_set_on_two_nodes_at_once_end_as_one_that_all_nodes_see(run_node: RunNode) -> None:
    async with run_node() as one, run_node() as other, run_node() as third:
        await bring(one, "bob")
        await bring(other, "bob")
        for number in range(20):
            one.roster.set_custom_state("lobby", "bob", f'{{"one":{number}}}')
            other.roster.set_custom_state("lobby", "bob", f'{{"other":{number}}}')
            if number % 3 == 0:
                await asyncio.gather(one.settled(), other.settled())
        await asyncio.gather(one.settled(), other.settled())
        [by_one, by_other, by_third] = await seen(one, other, third)
        assert by_one == by_other == by_third
        assert by_third["bob"] in {'{"one":19}', '{"other":19}'}


async def test_a_state_that_ends_quietly_is_no_news(run_node: RunNode) -> None:
    async with run_node() as one, run_node() as other:
        await bring(one, "bob")
        await set_on(one, "{}")
        one.news.clear()
        one.roster.set_custom_state("lobby", "bob", None, quietly=True)
        await one.settled()
        assert (one.news, await seen(one, other)) == ([], [{}, {}])


async def test_a_membership_that_ends_while_a_state_is_being_written_lets_no_news_of_it_follow(
    run_node: RunNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_node() as one, run_node() as other:
        await bring(one, "bob")
        write = one.shared_state._write

        async def write_and_leave(some: list[Change]) -> None:
            await write(some)
            monkeypatch.undo()
            one.roster.drop_from_room("lobby", "bob")
            one.roster.set_custom_state("lobby", "bob", None, quietly=True)

        monkeypatch.setattr(one.shared_state, "_write", write_and_leave)
        one.roster.set_custom_state("lobby", "bob", "{}")
        await one.settled()
        assert (one.news, other.news, await seen(one, other)) == ([], [], [{}, {}])


async def test_a_change_to_away_and_back_keeps_the_state_of_another_node(run_node: RunNode) -> None:
    async with run_node() as one, run_node() as other:
        await bring(one, "bob")
        await bring(other, "bob")
        await set_on(other, '{"a":1}')
        other.roster.set_state("bob", "online", "away", set)
        await other.settled()
        one.roster.set_state("bob", "online", "away", set)
        await one.settled()
        assert one.news == [("lobby", "bob", "away", '{"a":1}')]
        # Away users may have states that end.
        other.news.clear()
        await set_on(other, None)
        assert other.news == [("lobby", "bob", "away")]
        one.roster.set_state("bob", "away", "online", set)
        await one.settled()
        assert one.news[1:] == [("lobby", "bob", "online")]


@pytest.mark.parametrize(
    "value",
    ["", "1", "1 ", "x {}", "1 nonsense", "1 []", "-1 {}", '1 {"a":', '9 {"a":"' + "x" * 2000 + '"}', "1 {\xff}"],
    ids=lambda value: value[:20],
)
async def test_what_others_have_written_into_our_keys_does_no_harm(run_node: RunNode, prefix: str, value: str) -> None:
    async with run_node() as node:
        await bring(node, "bob")
        await node.link.execute([("HSET", f"{prefix}:custom-state:lobby bob", "0123456789abcdef ", value)])
        assert await seen(node) == [{}]
        await set_on(node, '{"a":1}')
        assert await seen(node) == [{"bob": '{"a":1}'}]
        assert node.news == [("lobby", "bob", "online", '{"a":1}')]


async def test_while_redis_is_away_a_node_knows_its_own_states_and_writes_them_when_redis_is_back(
    run_node: RunNode, valkey: Valkey
) -> None:
    async with run_node(valkey) as one, run_node(valkey) as other:
        await bring(one, "bob")
        await bring(other, "carol")
        await set_on(one, '{"a":1}')
        valkey.stop()
        await set_on(one, '{"a":2}')
        assert one.news[-1] == ("lobby", "bob", "online", '{"a":2}')
        assert await seen(one, other) == [{"bob": '{"a":2}'}, {}]
        valkey.start()
        for node in (one, other):
            await node.up()
            await node.settled()
        assert await seen(one, other) == [{"bob": '{"a":2}'}] * 2


async def test_a_state_that_is_set_while_redis_is_away_counts_more_than_earlier_ones_once_redis_is_back(
    run_node: RunNode,
) -> None:
    async with run_node() as one, run_node() as other:
        await bring(one, "bob")
        await bring(other, "bob")
        for number in range(3):
            await set_on(other, f'{{"other":{number}}}')
        one.link.mark_down("cut off")
        await set_on(one, '{"one":1}')
        await one.up()
        await one.settled()
        assert await seen(one, other) == [{"bob": '{"one":1}'}] * 2


async def test_a_dead_nodes_states_go_and_those_of_the_living_count_again(
    run_node: RunNode, prefix: str, tmp_path: Path
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}", synchronous="NORMAL")
    await database.upgrade()
    try:
        async with run_node() as one:
            reaper = DeadNodeReaper(one.link, one.nodes, one.shared_state, prefix, database, one.roster, SystemClock())
            one.nodes._reap = reaper.reap
            await bring(one, "bob")
            await set_on(one, '{"old":1}')
            async with run_node() as dead:
                await bring(dead, "bob", "carol")
                await set_on(dead, '{"new":1}')
                dead.roster.set_custom_state("lobby", "carol", '{"hers":1}')
                await dead.settled()
                assert await seen(one) == [{"bob": '{"new":1}', "carol": '{"hers":1}'}]
                one.news.clear()
            await until(lambda: one.nodes.reaped == 1)
            await one.settled()
            assert await seen(one) == [{"bob": '{"old":1}'}]
            assert sorted(one.news) == [("lobby", "bob", "online", '{"old":1}'), ("lobby", "carol", "offline")]
    finally:
        await database.close()


@asynccontextmanager
async def hearing(app: App, name: str) -> AsyncIterator[ChatClient]:
    """A user in the lobby that sees presence."""
    async with app.in_room(name, "lobby") as client:
        client.ignored = {"room.joined"}
        yield client


async def members(client: ChatClient) -> dict[str, Any]:
    """Return the custom states of the lobby's members, as `room.members` has them."""
    number = await client.start("room.members", room="lobby")
    found = (await client.until(id=number))["data"]["members"]
    return {member["user"]: member["custom_state"] for member in found if "custom_state" in member}


async def changed(client: ChatClient, user: str, state: str, custom: dict[str, Any] | None = None) -> None:
    """Wait for a change of presence."""
    data = {"room": "lobby", "user": user, "state": state} | ({} if custom is None else {"custom_state": custom})
    async with asyncio.timeout(SOON):
        await client.until(type="presence.changed", data=data)


async def test_room_members_is_right_on_all_nodes_also_on_one_that_comes_later_and_after_one_has_died(
    run_nodes: RunNodes, victim: Served
) -> None:
    nodes = run_nodes()
    async with App(nodes[0]) as here, App(nodes[1]) as beside, App(cast(Gateway, victim)) as there:
        async with hearing(here, "alice") as ann, hearing(beside, "carol") as cat, hearing(there, "bob") as ben:
            await changed(ann, "bob", "online")
            await ann.ask("presence.set", room="lobby", state={"ann": 1})
            await changed(ben, "alice", "online", {"ann": 1})
            for number in range(5):
                await ben.ask("presence.set", room="lobby", state={"ben": number})
            for client in (ann, cat):
                await changed(client, "bob", "online", {"ben": 4})
            everywhere = {"alice": {"ann": 1}, "bob": {"ben": 4}}
            assert [await members(client) for client in (ann, cat, ben)] == [everywhere] * 3
            # Bob's other connection, on another node, has another state.
            async with hearing(beside, "bob") as phone:
                await phone.ask("presence.set", room="lobby", state={"on": "phone"})
                await changed(ann, "bob", "online", {"on": "phone"})
                assert [(await members(client))["bob"] for client in (ann, cat, ben)] == [{"on": "phone"}] * 3
            await changed(ann, "bob", "online", {"ben": 4})
            assert [await members(client) for client in (ann, cat, ben)] == [everywhere] * 3
            [late] = run_nodes(count=1)
            async with App(late) as later, hearing(later, "dave") as dan:
                assert await members(dan) == everywhere
                await dan.ask("presence.set", room="lobby", state={"dan": 1})
                await changed(ann, "dave", "online", {"dan": 1})
                everywhere["dave"] = {"dan": 1}
                assert [await members(client) for client in (ann, cat, ben, dan)] == [everywhere] * 4
                async with hearing(beside, "bob") as tablet:
                    await asyncio.to_thread(victim.stop, signal.SIGKILL)
                    for client in (ann, cat, dan):
                        await changed(client, "bob", "online")
                    del everywhere["bob"]
                    assert [await members(client) for client in (ann, cat, dan, tablet)] == [everywhere] * 4
                    # The member's own connections do not get it.
                    await tablet.expect_nothing()


async def test_a_user_that_is_kicked_on_another_node_has_no_state_left(run_nodes: RunNodes) -> None:
    nodes = run_nodes()
    async with App(nodes[0]) as here, App(nodes[1]) as there, hearing(here, "alice") as ann:
        async with hearing(there, "bob") as ben:
            await ben.ask("presence.set", room="lobby", state={"a": 1})
            await changed(ann, "bob", "online", {"a": 1})
            await ben.start("presence.set", room="lobby", state={"a": 2})
            await ann.start("room.kick", room="lobby", user="bob")
            await ann.until(type="room.left")
            await ben.until(type="room.left", data={"room": "lobby", "user": "bob", "by": "alice"})
            await until(lambda: nodes[1].state.cluster.figures().unwritten == 0)
            await ben.ask("room.join", room="lobby")
            assert (await members(ann), await members(ben)) == ({}, {})
            later = [event["data"] for event in await ann.heard() if event["type"] == "presence.changed"]
            assert all("custom_state" not in event for event in later)


async def test_a_node_that_reports_a_user_of_another_node_leaves_out_the_users_own_connections(
    run_nodes: RunNodes,
) -> None:
    nodes = run_nodes()
    roster = cast(SharedRoster, nodes[0].state.cluster.roster)

    async def report() -> None:
        roster.report_custom_state("lobby", "bob")

    async with App(nodes[0]) as here, App(nodes[1]) as there, hearing(here, "alice") as ann:
        async with hearing(there, "bob") as ben:
            await ben.ask("presence.set", room="lobby", state={"a": 1})
            await changed(ann, "bob", "online", {"a": 1})
            await nodes[0].run(report())
            await changed(ann, "bob", "online", {"a": 1})
            await ann.say("lobby", "hello")
            await ben.expect("chat.message", text="hello")
            await ben.expect_nothing()
