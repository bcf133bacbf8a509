"""Several nodes with the same hooks: one of them sends, and another goes on where a killed one stopped."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.store import webhooks
from gateway.testing import Gateway
from tests.gateway.cli.command import Served, serving
from tests.gateway.webhooks.conftest import is_empty
from tests.support.client import App
from tests.support.nodes import SECRET, running_nodes
from tests.support.postgres import fresh_database
from tests.support.receivers import Receiver, use_hooks
from tests.support.valkey import Valkey
from tests.support.waiting import until

TAKE_OVER_SECONDS = 15
EVERYTHING = "message.stored", "user.connected", "user.offline", "room.occupied", "room.vacated"

Nodes = Callable[..., list[Gateway]]


@pytest.fixture
def nodes(valkey: Valkey, postgres: str, tmp_path: Path) -> Iterator[list[Gateway]]:
    with fresh_database(postgres) as url, running_nodes(tmp_path, url, valkey) as running:
        yield running


async def owner_of(gateway: Gateway) -> str:
    rows = await gateway.run(gateway.state.database.query(webhooks.list_all))
    return rows["push"].owner if "push" in rows else ""


@pytest.mark.usefixtures("looks_often")
async def test_two_nodes_never_both_send_what_either_of_them_stores(nodes: list[Gateway], receiver: Receiver) -> None:
    for node in nodes:
        await use_hooks(node, receiver.hook("message.stored"))
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        async with here.in_room("alice", "lobby") as alice, there.in_room("bobby", "lobby") as bobby:
            await alice.until(type="room.joined")
            for number in range(30):
                await alice.send({"type": "chat.send", "data": {"room": "lobby", "text": f"a{number}"}})
                await bobby.send({"type": "chat.send", "data": {"room": "lobby", "text": f"b{number}"}})
            events = await receiver.expect(60)
            await until(lambda: is_empty(nodes[0]))
    assert len(receiver.got) == 60
    offsets = [event.data["message"]["offset"] for event in events]
    assert offsets == sorted(offsets)
    delivered = [node.state.webhooks.state()["push"].outcomes["delivered"] for node in nodes]
    assert sorted(delivered) == [0, 60]


async def test_a_node_that_stops_leaves_its_hooks_to_the_other_at_once(
    valkey: Valkey, postgres: str, tmp_path: Path, receiver: Receiver
) -> None:
    hook = receiver.hook("message.stored")
    with fresh_database(postgres) as url, running_nodes(tmp_path, url, valkey, count=1) as [stays]:
        with running_nodes(tmp_path / "other", url, valkey, count=1) as [goes]:
            await use_hooks(goes, hook)
            await until(lambda: owner_of(goes))
            await use_hooks(stays, hook)
            async with App(stays) as app, app.in_room("alice", "lobby") as alice:
                await alice.say("lobby", "one")
                await receiver.expect(1)
            assert await owner_of(stays) == goes.state.bus.node
        began = time.monotonic()
        async with App(stays) as app, app.in_room("alice", "lobby") as alice:
            await alice.say("lobby", "two")
            await receiver.expect(2)
        assert time.monotonic() - began < 8  # sooner than a lease ends


async def test_what_a_node_that_was_taken_over_still_knows_changes_nothing(
    nodes: list[Gateway], receiver: Receiver
) -> None:
    first, second = nodes
    await use_hooks(first, receiver.hook("message.stored"))
    await until(lambda: owner_of(first))
    receiver.may_answer.clear()
    async with App(first) as app, app.in_room("alice", "lobby") as alice:
        await alice.say("lobby", "hello")
        await until(lambda: receiver.at_work)
        # The other node believes that this one is gone, as after a long pause.
        await second.run(_steal(second))
        receiver.may_answer.set()
        await until(lambda: not receiver.at_work)
        await use_hooks(second, receiver.hook("message.stored"))
        await until(lambda: is_empty(second))
    assert {event.id for event in receiver.got} == {receiver.got[0].id}
    assert len(receiver.got) == 2  # the one that was on its way, and the one of the new owner
    assert second.state.webhooks.state()["push"].outcomes["delivered"] == 1


async def _steal(gateway: Gateway) -> None:
    rows = await gateway.state.database.query(webhooks.list_all)
    owner = gateway.state.bus.node
    assert await gateway.state.database.transact(lambda at: webhooks.take(at, rows["push"], owner))


async def test_users_and_rooms_on_two_nodes_are_told_once(
    nodes: list[Gateway], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.presence.GRACE_SECONDS", 0)
    for node in nodes:
        await use_hooks(node, receiver.hook("user.connected", "user.offline", "room.occupied", "room.vacated"))
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        async with here.in_room("alice", "lobby"):
            await receiver.expect(2)
            async with there.in_room("alice", "lobby"), there.in_room("bobby", "lobby"):
                await receiver.expect(3)
            await receiver.expect(4)
        await receiver.expect(6)
    await until(lambda: is_empty(nodes[0]))
    told = [(event.type, event.data.get("user") or event.data["room"]) for event in receiver.got]
    assert sorted(told[:2]) == [("room.occupied", "lobby"), ("user.connected", "alice")]
    assert told[2:4] == [("user.connected", "bobby"), ("user.offline", "bobby")]
    assert sorted(told[4:]) == [("room.vacated", "lobby"), ("user.offline", "alice")]


async def test_a_member_that_is_connected_to_the_other_node_has_seen_a_message(
    nodes: list[Gateway], receiver: Receiver
) -> None:
    for node in nodes:
        await use_hooks(node, receiver.hook("message.unseen", unseen_seconds=1))
    async with App(nodes[0]) as here, App(nodes[1]) as there:
        async with there.in_room("carol", "lobby"):
            pass
        async with here.in_room("alice", "lobby") as alice, there.in_room("bobby", "lobby"):
            await alice.until(type="room.joined")
            await alice.say("lobby", "hello")
            [event] = await receiver.expect(1)
    assert event.data["users"] == ["carol"]


FILE = """
[hooks.push]
url = "{url}"
secret = "env:PUSH_SECRET"
types = {types}
"""


@pytest.mark.server
async def test_another_node_goes_on_after_a_kill_and_tells_who_is_gone(
    valkey: Valkey, postgres: str, tmp_path: Path, receiver: Receiver
) -> None:
    (tmp_path / "routes.toml").write_text(FILE.format(url=receiver.url, types=list(EVERYTHING)))
    with fresh_database(postgres) as url:
        variables: dict[str, Any] = {
            "GATEWAY_DATABASE_URL": url,
            "GATEWAY_BUS_URL": valkey.url,
            "GATEWAY_SECRET_KEY": SECRET,
            "GATEWAY_ROUTES": "routes.toml",
            "GATEWAY_NODE_LEASE_SECONDS": "3",
            "PUSH_SECRET": receiver.secret,
        }
        with serving(tmp_path, **variables) as killed:
            async with _app(killed) as app, app.in_room("alice", "lobby") as alice:
                await receiver.expect(2)
                with serving(tmp_path, **variables | {"GATEWAY_DATA_DIR": str(tmp_path / "two")}) as other:
                    receiver.answer = lambda _: 503
                    await alice.say("lobby", "before")
                    await until(lambda: receiver.of_type("message.stored"))
                    receiver.answer = lambda _: 204
                    killed.stop(signal.SIGKILL)
                    began = time.monotonic()
                    async with _app(other) as there, there.in_room("bobby", "garden") as bobby:
                        await bobby.say("garden", "after")
                        await _all_of(receiver, began)
    seconds = time.monotonic() - began
    assert seconds < TAKE_OVER_SECONDS + 10, seconds
    assert [event.data["message"]["text"] for event in await receiver.expect(2, "message.stored")] == [
        "before",
        "after",
    ]
    assert {event.data["user"] for event in receiver.of_type("user.offline")} == {"alice"}
    assert {event.data["room"] for event in receiver.of_type("room.vacated")} == {"lobby"}


def _app(served: Served) -> App:
    return App(cast(Gateway, served))


async def _all_of(receiver: Receiver, began: float) -> None:
    """Wait for what the other node sends, the messages within the time of a take-over."""

    def said() -> set[str]:
        return {event.data["message"]["text"] for event in receiver.of_type("message.stored")}

    await until(lambda: "after" in said(), TAKE_OVER_SECONDS)
    assert time.monotonic() - began < TAKE_OVER_SECONDS
    async with asyncio.timeout(20):
        await until(lambda: receiver.of_type("user.offline") and receiver.of_type("room.vacated"))
        await until(lambda: len(receiver.of_type("message.stored")) >= 3, 40)
