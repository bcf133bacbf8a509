"""Nodes that die, sleep, and are forgotten."""

import asyncio
import signal
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from gateway.bus.redis_commands import Command
from gateway.testing import Gateway
from tests.gateway.cli.command import Served
from tests.gateway.cluster.conftest import LEASE_SECONDS, Node, RunNode, RunNodes
from tests.support.client import App, ChatClient, Frame
from tests.support.valkey import Valkey
from tests.support.waiting import until

SOON = 6 * LEASE_SECONDS
"""The time within which others notice that a node is gone: two leases, and some more on a busy machine."""


async def test_nodes_see_each_other_come_and_go_without_a_word(run_node: RunNode) -> None:
    async with run_node() as one:
        async with run_node() as other:
            await until(lambda: one.nodes.others == 1)
            assert other.nodes.others == 1
            gone = other.nodes.id
        await until(lambda: one.buried == [gone])
        assert one.nodes.others == 0


async def test_one_of_several_nodes_clears_up_after_a_dead_one(run_node: RunNode) -> None:
    async with run_node() as one, run_node() as other:
        async with run_node() as dead:
            gone = dead.nodes.id
        await until(lambda: one.nodes.reaped + other.nodes.reaped == 1)
        assert one.buried + other.buried == [gone]


async def test_a_node_that_was_taken_for_dead_lives_under_a_new_name(run_node: RunNode, prefix: str) -> None:
    async with run_node() as node:
        node.roster.enter_room("lobby", "bob")
        await node.settled()
        before = node.nodes.id
        await node.link.execute([("SET", f"{prefix}:dead:{before}", "")])
        await node.nodes.beat()
        await node.settled()
        assert node.nodes.id != before
        assert node.news == [("lobby", "bob", "online")] * 2  # the others had told that Bob was gone


async def test_a_node_that_was_taken_for_dead_tells_so_although_the_answer_to_its_new_name_is_lost(
    run_node: RunNode, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_node() as node:
        node.roster.enter_room("lobby", "bob")
        await node.settled()
        probe = node.link.probe

        async def lose_the_answer(commands: Sequence[Command]) -> list[Any]:
            answers = await probe(commands)
            if "begin" in commands[0]:
                monkeypatch.undo()
                raise node.link.mark_down("the test has lost it")
            return answers

        monkeypatch.setattr(node.link, "probe", lose_the_answer)
        await node.link.execute([("SET", f"{prefix}:dead:{node.nodes.id}", "")])
        await until(lambda: len(node.news) > 1)
        await node.settled()
        assert node.news == [("lobby", "bob", "online")] * 2
        assert node.link.failures == 1


async def test_what_an_unknown_node_says_is_believed_until_it_is_known_to_be_none(
    run_node: RunNode, prefix: str
) -> None:
    async with run_node() as node:
        await node.link.execute([("HSET", f"{prefix}:user:bob", "0123456789abcdef ", "1 online")])
        assert await node.roster.remote_states(["bob"]) == {"bob": "online"}
        await until(lambda: nowhere_else(node, "bob"))


async def test_where_nothing_can_be_shared_each_node_lives_by_itself_until_it_can(
    run_node: RunNode, prefix: str, shared_valkey: Valkey
) -> None:
    shared_valkey.ask(f"SET {prefix}:nodes nonsense")
    async with run_node(max_per_user=1) as node:
        assert not node.link.is_up
        assert await node.roster.admit("bob", "::1")
        assert not await node.roster.admit("bob", "::1")
        shared_valkey.ask(f"DEL {prefix}:nodes")
        await until(lambda: node.link.is_up)
        await node.settled()
        async with run_node(max_per_user=1) as other:
            assert not await other.roster.admit("bob", "::1")


async def test_a_node_that_is_killed_takes_its_users_offline_and_the_rooms_are_told(
    run_nodes: RunNodes, victim: Served
) -> None:
    nodes = run_nodes()
    async with App(nodes[0]) as here, App(nodes[1]) as beside, App(cast(Gateway, victim)) as there:
        async with here.in_room("alice", "lobby") as ann, there.in_room("bob", "lobby") as ben:
            came = ben.welcome["server_time"]
            ann.ignored.clear()
            await until_heard(ann, user="bob", state="online")
            async with there.in_room("carol", "lobby"), beside.in_room("carol", "lobby") as cat:
                await until_heard(ann, user="carol", state="online")
                await asyncio.to_thread(victim.stop, signal.SIGKILL)
                async with asyncio.timeout(SOON):
                    await ann.expect("presence.changed", room="lobby", user="bob", state="offline")
                [bob, carol] = await presence(ann, "bob", "carol")
                assert (bob["state"], carol["state"]) == ("offline", "online")
                assert datetime.fromisoformat(bob["last_seen"]) >= datetime.fromisoformat(came) - timedelta(
                    seconds=LEASE_SECONDS
                )
                cat.ignored.clear()
                await until_heard(cat, user="bob", state="offline")
                await ann.expect_nothing()  # of Carol, still there, and of Bob a second time


async def test_a_node_that_sleeps_for_longer_than_its_lease_has_its_users_back_when_it_wakes(
    run_nodes: RunNodes, victim: Served
) -> None:
    [node] = run_nodes(count=1)
    async with App(node) as here, App(cast(Gateway, victim)) as there:
        async with here.in_room("alice", "lobby") as ann, there.in_room("bob", "lobby") as ben:
            ann.ignored.clear()
            await until_heard(ann, user="bob", state="online")
            victim.process.send_signal(signal.SIGSTOP)
            try:
                await ann.expect("presence.changed", user="bob", state="offline")
            finally:
                victim.process.send_signal(signal.SIGCONT)
            await ann.expect("presence.changed", user="bob", state="online")
            await until(lambda: is_online(ann, "bob"))
            await until(lambda: is_online(ben, "alice"))
            await ann.expect_nothing()


async def nowhere_else(node: Node, user: str) -> bool:
    return not await node.roster.remote_states([user])


async def is_online(client: ChatClient, user: str) -> bool:
    [found] = await presence(client, user)
    return bool(found["state"] == "online")


async def presence(client: ChatClient, *names: str) -> list[Frame]:
    users: list[Frame] = (await client.ask("presence.get", users=list(names)))["users"]
    return users


async def until_heard(client: ChatClient, **parts: str) -> None:
    async with asyncio.timeout(SOON):
        while not parts.items() <= (await client.next()).get("data", {}).items():
            pass
