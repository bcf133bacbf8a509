"""Presence on all nodes together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.bus import redis_client, redis_commands
from gateway.bus.redis_commands import Command
from gateway.cluster.shared_state import Change, SharedState
from gateway.core import faults
from tests.gateway.cluster.conftest import Node, RunNode, RunNodes
from tests.handlers.test_system import add_admin
from tests.support.client import App, ChatClient
from tests.support.metrics import metrics_of
from tests.support.valkey import Valkey, running_cluster
from tests.support.waiting import WAIT_SECONDS, until

NEVER = 3600
"""Seconds, of which no test sees the end."""


async def test_a_room_is_told_once_that_a_user_comes_to_several_nodes_and_once_that_all_are_left(
    run_node: RunNode,
) -> None:
    async with run_node() as one, run_node() as other:
        one.roster.enter_room("lobby", "bob")
        other.roster.enter_room("lobby", "bob")
        await asyncio.gather(one.settled(), other.settled())
        assert one.news + other.news == [("lobby", "bob", "online")]
        one.news.clear()
        other.news.clear()
        one.roster.leave_room("lobby", "bob")
        await one.settled()
        assert one.news == []
        other.roster.leave_room("lobby", "bob")
        await other.settled()
        assert (one.news, other.news) == ([], [("lobby", "bob", "offline")])


async def test_a_user_is_away_when_all_nodes_say_so_and_back_when_one_does(run_node: RunNode) -> None:
    async with run_node() as one, run_node() as other:
        one.roster.enter_room("lobby", "bob")
        other.roster.enter_room("garden", "bob")
        for node in (one, other):
            node.roster.set_state("bob", None, "online", set)
            await node.settled()
            node.news.clear()
        one.roster.set_state("bob", "online", "away", set)
        await one.settled()
        assert one.news == []
        assert await one.roster.remote_states(["bob"]) == {"bob": "online"}
        other.roster.set_state("bob", "online", "away", set)
        await other.settled()
        assert sorted(other.news) == [("garden", "bob", "away"), ("lobby", "bob", "away")]
        assert await one.roster.remote_states(["bob", "carol"]) == {"bob": "away"}
        one.roster.set_state("bob", "away", "online", set)
        await one.settled()
        assert sorted(one.news) == [("garden", "bob", "online"), ("lobby", "bob", "online")]
        one.roster.set_state("bob", "online", None, set)  # leaves where the user was not away
        await one.settled()
        assert sorted(one.news)[::2] == [("garden", "bob", "away"), ("lobby", "bob", "away")]


async def test_connections_of_all_nodes_are_counted_but_those_of_a_dead_one(run_node: RunNode) -> None:
    async with run_node() as one:
        async with run_node() as other:
            for node, users in ((one, ("alice", "bob")), (other, ("bob", "bob", "carol"))):
                for user in users:
                    assert await node.roster.admit(user, "::1")
                node.roster.release("bob", "::1")
                await node.settled()
            assert await one.roster.remote_connections() == 2
            assert await other.roster.remote_connections() == 1
            gone = other.nodes.id
        await until(lambda: one.buried == [gone])
        assert await one.roster.remote_connections() == 0


async def test_an_announcement_tells_how_many_it_reaches_on_all_nodes(run_nodes: RunNodes) -> None:
    nodes = run_nodes()
    await nodes[0].run(add_admin(nodes[0], "alice"))
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        async with here.connect("alice") as ann, there.connect("bob") as ben, there.connect("bob") as too:
            assert await ann.ask("announce", text="We restart at noon.") == {"reached": 3}
            for client in (ann, ben, too):
                await client.expect("announcement", text="We restart at noon.")


async def test_who_leaves_a_room_that_is_told_otherwise_is_no_news(run_node: RunNode) -> None:
    async with run_node() as node:
        node.roster.enter_room("lobby", "bob")
        await node.settled()
        node.news.clear()
        node.roster.drop_from_room("lobby", "bob")
        await node.settled()
        assert node.news == []


async def test_of_many_that_come_to_two_nodes_at_once_as_many_get_in_as_may(run_node: RunNode) -> None:
    async with run_node(max_per_user=20) as one, run_node(max_per_user=20) as other:
        admitted = await asyncio.gather(*(node.roster.admit("bob", "::1") for _ in range(15) for node in (one, other)))
        assert sum(admitted) == 20
        assert await one.roster.admit("carol", "::1")
        one.roster.release("bob", "::1")
        await one.settled()
        assert await other.roster.admit("bob", "::1")
        assert not await one.roster.admit("bob", "::1")


async def test_a_limit_of_its_own_counts_all_nodes_too(run_node: RunNode) -> None:
    async with run_node(max_per_user=1) as one, run_node(max_per_user=1) as other:
        for node in (one, other, one):
            assert await node.roster.admit("service:orders", "::1", 3)
        assert not await other.roster.admit("service:orders", "::1", 3)
        one.roster.release("service:orders", "::1")
        await one.settled()
        assert await other.roster.admit("service:orders", "::1", 3)
        assert await one.roster.admit("bob", "::1")
        assert not await other.roster.admit("bob", "::1")


async def test_two_clusters_with_prefixes_of_their_own_know_nothing_of_each_other(
    run_node: RunNode, prefix: str
) -> None:
    async with run_node(max_per_user=1) as ours, run_node(prefix=f"{prefix}-theirs", max_per_user=1) as theirs:
        assert await ours.roster.admit("bob", "::1")
        assert await theirs.roster.admit("bob", "::1")
        assert await ours.roster.remote_states(["bob"]) == {}
        assert (ours.nodes.others, theirs.nodes.others) == (0, 0)


async def test_a_redis_cluster_does_as_well(run_node: RunNode) -> None:
    with running_cluster() as cluster:
        url = f"redis+cluster://127.0.0.1:{cluster.port}"
        async with run_node(url, max_per_user=5) as other:
            async with run_node(url, max_per_user=5) as one:
                admitted = await asyncio.gather(
                    *(node.roster.admit("bob", "::1") for _ in range(3) for node in (one, other))
                )
                assert sum(admitted) == 5
                one.roster.enter_room("lobby", "bob")
                await one.settled()
                other.roster.leave_room("lobby", "bob")
                await other.settled()
                assert (one.news, other.news) == ([("lobby", "bob", "online")], [])
                everybody = [f"user-{number}" for number in range(300)]
                for name in everybody:
                    one.roster.set_state(name, None, "away", set)
                await one.settled()
                states = await other.roster.remote_states(["bob", *everybody])
                assert states == {"bob": "online", **dict.fromkeys(everybody, "away")}
                gone = one.nodes.id
            await until(lambda: other.buried == [gone])
            assert await other.roster.remote_states(["bob"]) == {}


@pytest.mark.parametrize(
    "poison",
    [
        ("SET", "{}", "no hash at all"),
        ("HSET", "{}", "nonsense", "1 online"),
        ("HSET", "{}", "\xff" * 20, "1 online"),
        ("HSET", "{}", "0123456789abcdef ", "99999999999 online"),
        ("HSET", "{}", "0123456789abcdef ", "-5 asleep\n"),
        ("HSET", "{}", "0123456789abcdef ", ""),
    ],
    ids=["wrong type", "no node", "bytes", "huge", "unknown state", "empty"],
)
async def test_what_others_have_written_into_our_keys_does_no_harm(
    run_node: RunNode, prefix: str, poison: tuple[str, ...]
) -> None:
    async with run_node(max_per_user=2) as node:
        await node.link.execute([tuple(part.format(f"{prefix}:user:bob") for part in poison)])
        assert await node.roster.admit("bob", "::1")
        assert await node.roster.remote_states(["bob", "carol"]) == {}
        assert await node.roster.admit("carol", "::1")
        assert node.link.is_up


async def test_while_redis_is_away_each_node_knows_what_it_knows_and_says_it_when_redis_is_back(
    run_node: RunNode, valkey: Valkey
) -> None:
    async with run_node(valkey, max_per_user=2) as one, run_node(valkey, max_per_user=2) as other:
        assert await one.roster.admit("bob", "::1")
        one.roster.enter_room("lobby", "bob")
        await one.settled()
        valkey.stop()
        assert await one.roster.admit("bob", "::1")
        assert not await one.roster.admit("bob", "::1")
        assert await other.roster.admit("bob", "::1")
        assert await other.roster.remote_states(["bob"]) == {}
        other.roster.enter_room("lobby", "bob")
        await other.settled()
        assert other.news == [("lobby", "bob", "online")]  # as far as it knows
        valkey.start()  # and has forgotten everything
        await until_up(one, other)
        assert await other.roster.remote_states(["bob"]) == {"bob": "online"}
        assert not await other.roster.admit("bob", "::1")
        assert one.news == [("lobby", "bob", "online")]  # from before: the other user is not announced again
        assert other.news == one.news


async def test_a_redis_that_hangs_delays_one_caller_until_its_limit_and_no_other(
    run_node: RunNode, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", NEVER)
    async with run_node(valkey, max_per_user=2) as node:
        valkey.freeze()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                assert await node.roster.admit("bob", "::1")
                monkeypatch.setattr(redis_commands, "PATIENCE_SECONDS", NEVER)
                assert await node.roster.admit("bob", "::1")
                assert await node.roster.remote_states(["carol"]) == {}
            monkeypatch.undo()
        finally:
            valkey.thaw()
        await until_up(node)


async def until_up(*nodes: Node) -> None:
    """Wait until nodes have found Redis again and written their whole state."""
    for node in nodes:
        await node.up()
        await node.settled()


async def test_a_user_on_two_nodes_that_leaves_one_stays_online_whatever_their_clocks_say(
    run_nodes: RunNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 0)
    nodes = run_nodes()
    nodes[1].clock.ahead = -30
    async with App(nodes[0]) as here, App(nodes[1]) as there, here.in_room("alice", "lobby") as ann:
        ann.ignored.clear()
        async with there.in_room("bob", "lobby"):
            await ann.expect("room.joined", user="bob")
            await ann.expect("presence.changed", user="bob", state="online")
            async with here.in_room("bob", "lobby"):
                await ann.expect_nothing()
            async with there.in_room("carol", "lobby"):
                await ann.expect("room.joined", user="carol")
                await ann.expect("presence.changed", user="carol", state="online")
            # The news of Bob, if there were any, would come before Carol's: Bob left first.
            await ann.expect("presence.changed", user="carol", state="offline")
            assert await states(ann, "bob", "carol") == ["online", "offline"]
            members = (await ann.ask("room.members", room="lobby"))["members"]
            assert [member["state"] for member in members] == ["online", "online", "offline"]
        await ann.expect("presence.changed", user="bob", state="offline")
        assert await states(ann, "bob") == ["offline"]
        await ann.expect_nothing()


async def test_a_user_has_no_more_connections_on_two_nodes_than_on_one(run_nodes: RunNodes) -> None:
    nodes = run_nodes(max_connections_per_user=3)
    async with App(nodes[0]) as here, App(nodes[1]) as there, here.connect("bob"), there.connect("bob"):
        async with here.connect("bob"):
            for app in (here, there):
                async with app.socket(f"?token={await app.token('bob')}") as client:
                    await client.expect("bye", code=1013, reason="overloaded", reconnect="with_backoff")
        async with connecting_until_let_in(there, "bob"):
            pass
        async with there.connect("alice"):
            pass


@asynccontextmanager
async def connecting_until_let_in(app: App, name: str) -> AsyncIterator[None]:
    """Connect as a user, while another connection of that user is being removed from the count."""
    token = await app.token(name)
    async with asyncio.timeout(20):
        while True:
            async with app.socket(f"?token={token}") as client:
                if (await client.next())["type"] == "welcome":
                    yield
                    return


async def test_while_redis_is_away_users_come_and_go_and_are_counted_on_their_node(
    run_nodes: RunNodes, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 0)
    nodes = run_nodes(valkey, max_connections_per_user=2, bus_required=False)
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        async with here.in_room("alice", "lobby") as ann, there.connect("bob"):
            assert await states(ann, "bob") == ["online"]
            valkey.stop()
            ann.ignored.clear()
            async with here.in_room("carol", "lobby"), here.connect("carol"):
                await ann.expect("room.joined", user="carol")
                await ann.expect("presence.changed", user="carol", state="online")
                async with here.socket(f"?token={await here.token('carol')}") as client:
                    await client.expect("bye", code=1013)
            await ann.expect("presence.changed", user="carol", state="offline")
            assert await states(ann, "bob", "carol") == ["offline", "offline"]
            figures = await metrics_of(here)
            assert (figures["gateway_shared_up"], figures["gateway_shared_lost_total"]) == (0, 1)
            valkey.start()
            await until(lambda: are(ann, bob="online", carol="offline"))
            figures = await metrics_of(here)
            assert (figures["gateway_shared_up"], figures["gateway_shared_lost_total"]) == (1, 1)
            assert figures["gateway_shared_guesses_total"] > 0


async def are(client: ChatClient, **states_of: str) -> bool:
    return await states(client, *states_of) == list(states_of.values())


async def states(client: ChatClient, *names: str) -> list[str]:
    users = (await client.ask("presence.get", users=list(names)))["users"]
    return [user["state"] for user in users]


@pytest.mark.usefixtures("fresh_faults")
async def test_one_user_with_a_state_that_cannot_be_written_keeps_back_no_other_users(
    run_node: RunNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update_or_fault(shared_state: SharedState, change: Change, node: str) -> Command:
        if change.subject == ("places", "bob"):
            raise UnicodeError("cannot be written")
        return real(shared_state, change, node)

    real = SharedState._update
    monkeypatch.setattr(SharedState, "_update", update_or_fault)
    async with run_node() as node:
        await node.up()
        for user in ("alice", "bob", "carol"):
            node.roster.enter_room("lobby", user)
        await node.settled()
        assert {("lobby", "alice", "online"), ("lobby", "carol", "online")} <= set(node.news)
        node.roster.leave_room("lobby", "alice")
        await node.settled()
        assert node.news[-1] == ("lobby", "alice", "offline")
    assert faults.counters == {"shared_state": 1}
