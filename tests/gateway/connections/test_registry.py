"""The common limits of the connections of one user, and of those from one address."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from gateway.auth.room_rights import RoomRights
from gateway.bus.base import Revoked
from gateway.cluster.roster import LocalRoster
from gateway.connections.fanout import CHUNK
from gateway.connections.registry import Connections
from gateway.core import faults
from gateway.core.clock import SystemClock
from gateway.core.turns import Turns
from gateway.testing import settings_for_tests
from gateway.transport.frames import Frame, text_frame
from gateway.transport.newcomers import SECONDS_EACH, Newcomers
from schemas.codes import Close
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient


async def pings(client: ChatClient, count: int) -> int:
    """Send so many pings, and return how many were accepted."""
    numbers = [await client.start("ping") for _ in range(count)]
    answers = [await client.until(id=number) for number in numbers]
    assert {answer["status"] for answer in answers} <= {20000, 42900}
    return sum(answer["status"] == 20000 for answer in answers)


async def test_twenty_connections_of_a_user_send_no_more_than_the_user_may(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=50, message_burst=50, message_rate_per_user=60)
    gateway.clock.stop()
    async with App(gateway) as app, AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(app.connect("alice")) for _ in range(20)]
        assert sum([await pings(client, 10) for client in connections]) == 60
        async with app.connect("bob") as ben:
            assert await pings(ben, 60) == 50  # as a connection may; what alice did is not bob's
        gateway.clock.ahead += 0.5
        assert sum([await pings(client, 10) for client in connections]) == 30
        error = await connections[0].refused("ping")
        assert error["message"] == "too many messages of this user"
        assert 0 < error["retry_after_ms"] <= 18


async def test_whoever_hangs_up_and_comes_back_may_send_no_more_for_that(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate_per_user=10, message_burst=10)
    gateway.clock.stop()
    async with App(gateway) as app:
        async with app.connect("alice") as client:
            assert await pings(client, 12) == 10
        async with app.connect("alice") as client:
            assert await pings(client, 12) == 0


async def test_all_users_behind_one_address_share_what_it_may_send(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate_per_address=10, message_burst=10)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect("alice") as ann, app.connect("bob") as ben:
        assert await pings(ann, 7) == 7
        assert await pings(ben, 7) == 3
        assert (await ann.refused("ping"))["message"] == "too many messages from this address"
        gateway.clock.ahead += 1
        await ann.ask("ping")


async def test_a_user_joins_no_more_rooms_a_second_over_several_connections(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(join_rate=3, join_rate_per_user=4)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect("alice") as phone, app.connect("alice") as tab:
        for name in ("a", "b", "c"):
            await phone.ask("room.join", room=name)
        assert (await phone.refused("room.join", room="d"))["message"] == "too many joins on this connection"
        await tab.ask("room.join", room="a")
        error = await tab.refused("room.join", room="b")
        assert (error["status"], error["message"]) == (42900, "too many joins of this user")
        async with app.connect("bob") as ben:
            await ben.ask("room.join", room="a")
        await tab.expect("room.joined", user="bob")
        gateway.clock.ahead += error["retry_after_ms"] / 1000
        await tab.ask("room.join", room="b")


async def test_a_user_connects_no_more_often_than_the_user_may(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(connection_rate_per_user=2, max_connections_per_user=3)
    gateway.clock.stop()
    async with App(gateway) as app:
        token = await app.token("alice")
        for _ in range(3):
            async with app.socket(f"?token={token}") as client:
                await client.expect("welcome")
        async with app.socket(f"?token={token}") as client:
            await client.expect("bye", code=1013, reason="overloaded", reconnect="with_backoff")
            await client.expect_close(1013, "overloaded")
        async with app.connect("bob"):
            pass
        gateway.clock.ahead += 0.5
        async with app.socket(f"?token={token}") as client:
            await client.expect("welcome")


async def test_handshakes_with_bad_tokens_count_and_cost_no_look_at_the_token(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(connection_rate=5)
    gateway.clock.stop()
    async with App(gateway) as app:
        token = await app.token("alice")
        for _ in range(5):
            async with app.socket("?token=nonsense") as client:
                await client.expect("error", status=40001)
        async with connect(f"{app.gateway.ws_url}/ws/chat?token={token}") as ws:
            client = ChatClient(ws)
            error = await client.expect("error", status=42900, name="rate_limited", retryable=True)
            assert 0 < error["retry_after_ms"] <= 201
            await client.expect("bye", code=1013)
            await client.expect_close(1013, "overloaded")


async def test_frames_that_are_no_messages_count_too(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=1, message_burst=4)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect("alice") as client:
        await client.send("")
        await client.send(b"")
        await client.send("no JSON")
        await client.expect("error", status=40000)
        await client.ask("ping")
        await client.send("x" * 70_000)
        await client.expect("error", id=None, status=42900)
        await client.send("")
        await client.expect("error", id=None, status=42900)


async def test_a_thousand_refused_messages_end_the_connection_before_its_time(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(message_rate=1, message_burst=1)
    gateway.clock.stop()
    async with App(gateway) as app, app.connect("alice") as client:
        await client.ask("ping")
        for _ in range(1000):
            await client.start("ping")
        for _ in range(1000):
            await client.expect("error", status=42900)
        await client.expect("bye", code=4429, reason="rate_abuse", after_ms=10_000)
        await client.expect_close(4429, "rate_abuse")


class Listener:
    """A connection that records in which turn of the loop it receives what."""

    def __init__(self, number: int, turns: Counter[str]) -> None:
        self.user = self.user_id = self.address = f"user-{number}"
        self.turns = turns
        self.told: list[bytes] = []
        self.after_ms: int | None = None
        self.sid: str | None = None
        self.joined: dict[str, int] = {}
        self.on_message: Callable[[], None] | None = None
        self.last_message_at = self.opened_at = 0.0
        self.connection = self.user
        self.scopes: frozenset[str] = frozenset()
        self.expires_at = 0.0

    def deliver(self, frame: Frame) -> None:
        self.told += frame.texts
        self.turns["now"] += 1

    def close_after_reply(self, close: Close, after_ms: int | None = None) -> None:
        self.after_ms = after_ms
        self.turns["now"] += 1

    def close(self, close: Close, after_ms: int | None = None) -> None:
        self.turns["ended"] += 1

    def abort(self) -> None:
        self.turns["cut off"] += 1

    def limit_rooms(self, rights: RoomRights) -> None:
        raise AssertionError(rights)


def make_connections(folder: Path) -> Connections:
    clock = SystemClock()
    return Connections(settings_for_tests(folder), clock, LocalRoster(0, 0), Newcomers(Turns(lambda: 0), clock, 0))


async def test_what_is_told_to_thousands_lets_others_have_their_turn(tmp_path: Path) -> None:
    turns: Counter[str] = Counter()
    connections = make_connections(tmp_path)
    everyone = [Listener(number, turns) for number in range(10 * CHUNK)]
    for each in everyone:
        assert await connections.admit(each) is None
    gone = everyone[-1]

    assert connections.deliver(text_frame(b"{}")) == len(everyone)
    busiest = 0
    for _ in range(20):
        turns.clear()
        await asyncio.sleep(0)
        busiest = max(busiest, turns["now"])
        if gone in everyone:
            connections.remove(everyone.pop())
    assert busiest == CHUNK
    assert all(each.told == [b"{}"] for each in everyone)

    drain = asyncio.create_task(connections.drain(5))
    busiest = 0
    for _ in range(20):
        turns.clear()
        await asyncio.sleep(0)
        busiest = max(busiest, turns["now"])
    assert busiest == CHUNK
    assert len({each.after_ms for each in everyone}) > len(everyone) / 3  # each has its own moment to come back
    # A node needs a millisecond for each, and they come in half of that: the others wait there for their turn.
    assert all(0 <= (each.after_ms or 0) <= 1000 + 0.5 * len(everyone) for each in everyone)
    for each in everyone:
        connections.remove(each)
    await asyncio.wait_for(drain, 5)


async def test_clients_that_move_one_after_the_other_take_half_of_a_nodes_time(tmp_path: Path) -> None:
    connections = make_connections(tmp_path)
    for each in range(500):
        connections.add(Listener(each, Counter()))
    assert connections.seconds_to_leave == pytest.approx(1 + 2 * 500 * SECONDS_EACH)


async def test_whoever_comes_while_the_gateway_drains_is_sent_away_like_the_others(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        token = await app.token("alice")
        await gateway.run(gateway.state.connections.drain(5))
        async with app.socket(f"?token={token}") as client:
            bye = await client.expect("bye", code=1012, reason="draining", reconnect="after_delay")
            assert 0 <= bye["after_ms"] < 1000
            await client.expect_close(1012, "draining")


async def test_whoever_has_not_logged_in_yet_is_sent_away_with_the_others(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.socket() as stranger, app.connect("alice") as client:
        drain = asyncio.create_task(gateway.run(gateway.state.connections.drain(5)))
        for each in (stranger, client):
            await each.expect("bye", code=1012, reason="draining", reconnect="after_delay")
            await each.expect_close(1012, "draining")
        async with asyncio.timeout(20):
            await drain
        async with app.socket() as late:
            await late.expect("bye", code=1012, reason="draining")
            await late.expect_close(1012, "draining")


@pytest.mark.usefixtures("fresh_faults")
async def test_one_connection_that_cannot_be_ended_or_sent_away_keeps_no_other(tmp_path: Path) -> None:
    class Faulty(Listener):
        def close(self, close: Close, after_ms: int | None = None) -> None:
            raise RuntimeError("cannot be ended")

        close_after_reply = close

    turns: Counter[str] = Counter()
    connections = make_connections(tmp_path)
    everyone = [Listener(0, turns), Faulty(0, turns), Listener(0, turns)]
    for each in everyone:
        connections.add(each)
    connections.close_revoked(Revoked("user-0", None))
    assert turns == {"ended": 2, "cut off": 1}
    await asyncio.wait_for(connections.drain(0.05), 5)
    assert [each.after_ms is not None for each in everyone] == [True, False, True]
    assert turns["cut off"] == 1 + len(everyone)
    assert faults.counters == {"connections": 2}
