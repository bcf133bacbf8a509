"""How long messages are kept."""

from typing import Any

import pytest

from gateway.core import faults
from gateway.rooms.retention import Retention
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.waiting import until

DAY = 24 * 3600


async def say(client: ChatClient, count: int, room: str = "lobby") -> None:
    for number in range(count):
        await client.ask("chat.send", room=room, text=str(number))
        await client.expect("chat.message")


async def prune(gateway: Gateway) -> int:
    state = gateway.state
    return await gateway.run(Retention(gateway.settings, state.database, gateway.clock).prune())


async def offsets(client: ChatClient, **data: Any) -> list[int]:
    return [each["offset"] for each in (await client.ask("chat.history", room="lobby", **data))["messages"]]


async def test_of_too_many_messages_the_newest_are_kept_in_each_room(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(retention_messages=10)
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        await client.ask("room.join", room="quiet")
        await say(client, 25)
        await say(client, 5, room="quiet")
        assert await prune(gateway) == 15
        assert await offsets(client, limit=100) == list(range(16, 26))
        assert len((await client.ask("chat.history", room="quiet"))["messages"]) == 5
        assert await prune(gateway) == 0
        await say(client, 1)
        assert await offsets(client, limit=1) == [26]


async def test_messages_are_kept_for_so_many_days_after_their_last_change(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(retention_days=7, token_minutes=24 * 60)
    async with App(gateway) as app:
        async with app.in_room("alice", "lobby") as client:
            await say(client, 4)
            first = (await client.ask("chat.history", room="lobby"))["messages"][0]
            gateway.clock.ahead += 5 * DAY
        async with app.in_room("alice", "lobby") as client:
            await client.ask("chat.edit", room="lobby", message_id=first["id"], text="made young again")
            await client.expect("chat.edited")
            await say(client, 1)
            assert await prune(gateway) == 0
            gateway.clock.ahead += 3 * DAY
        async with app.in_room("alice", "lobby") as client:
            assert await prune(gateway) == 3
            assert await offsets(client) == [1, 6]


async def test_a_resume_from_before_what_was_removed_is_too_old(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(retention_messages=5)
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        await say(client, 12)
        await prune(gateway)
        epoch = (await client.ask("room.join", room="lobby"))["epoch"]
        for offset, recovered in ((0, False), (6, False), (7, True), (12, True)):
            reply = await client.ask("room.join", room="lobby", since={"epoch": epoch, "offset": offset})
            assert reply["recovered"] is recovered, offset
            if recovered:
                assert [event["data"]["offset"] for event in reply["events"]] == list(range(offset + 1, 13))
            else:
                assert reply["reason"] == "too_old"
                assert [message["offset"] for message in reply["messages"]] == list(range(8, 13))


async def test_by_default_everything_is_kept(own_gateway: OwnGateway) -> None:
    gateway = own_gateway()
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        await say(client, 3)
        assert await prune(gateway) == 0


async def test_more_than_one_batch_is_removed(own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.rooms.removal.FEWEST", 3)
    monkeypatch.setattr("gateway.rooms.removal.MOST", 3)
    gateway = own_gateway(retention_messages=2)
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        await say(client, 12)
        assert await prune(gateway) == 10
        assert await offsets(client) == [11, 12]


@pytest.mark.usefixtures("fresh_faults")
async def test_a_sweep_that_fails_is_not_the_last(own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prune_or_fault(retention: Retention) -> int:
        if not faults.counters:
            raise ValueError("a row that nobody expects")
        return await real(retention)

    real = Retention.prune
    monkeypatch.setattr("gateway.rooms.retention.SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(Retention, "prune", prune_or_fault)
    async with App(own_gateway(retention_messages=2)) as app, app.in_room("alice", "lobby") as ann:
        await say(ann, 3)

        async def is_pruned() -> bool:
            return await offsets(ann) == [2, 3]

        await until(is_pruned)
    assert faults.counters == {"retention": 1}
