"""How long messages are kept."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from gateway.core import faults
from gateway.rooms.retention import Retention
from gateway.store import pruning
from gateway.testing import Gateway
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient
from tests.support.waiting import until

MINUTE = 60
DAY = 24 * 3600


async def say(client: ChatClient, count: int, room: str = "lobby") -> None:
    for number in range(count):
        await client.ask("chat.send", room=room, text=str(number))
        await client.expect("chat.message")


async def prune(gateway: Gateway, **limits: float) -> int:
    settings = gateway.settings.model_copy(update=limits)
    return await gateway.run(Retention(settings, gateway.state.database, gateway.clock).prune())


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


async def test_a_message_that_grows_is_young_and_an_edit_counts_after_its_pieces(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(retention_days=7, token_minutes=24 * 60)
    async with App(gateway) as app:
        async with app.in_room("alice", "lobby") as client:
            await say(client, 3)
            first, second, _ = (await client.ask("chat.history", room="lobby"))["messages"]
            gateway.clock.ahead += 5 * DAY
        async with app.in_room("alice", "lobby") as client:
            for message in (first, second):
                number = await client.start("chat.append", room="lobby", message_id=message["id"], text="!")
                await client.until(id=number)
                await client.heard()
            gateway.clock.ahead += DAY
        async with app.in_room("alice", "lobby") as client:
            await client.ask("chat.edit", room="lobby", message_id=second["id"], text="made young again")
            gateway.clock.ahead += 2 * DAY
        async with app.in_room("alice", "lobby") as client:
            assert await prune(gateway) == 1
            assert await offsets(client) == [1, 2]
            gateway.clock.ahead += 4.5 * DAY
        async with app.in_room("alice", "lobby") as client:
            assert await prune(gateway) == 1
            assert await offsets(client) == [2]


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


async def looked_at(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many rooms retention looks at one by one."""
    seen = set()

    def spy(name: str) -> None:
        real = getattr(pruning, name)

        def look(connection: Connection, room_id: int, **options: Any) -> Any:
            seen.add(room_id)
            return real(connection, room_id, **options)

        patch.setattr(pruning, name, look)

    with monkeypatch.context() as patch:
        spy("prune")
        spy("surplus")
        await prune(gateway)
    return len(seen)


async def test_quiet_rooms_are_not_looked_at(own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = own_gateway(retention_days=7, retention_messages=10, token_minutes=24 * 60)
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        await client.ask("room.join", room="quiet")
        await client.ask("room.join", room="silent")
        await say(client, 5, room="quiet")
        await say(client, 10)
        assert await looked_at(gateway, monkeypatch) == 0
        await say(client, 1)
        assert await looked_at(gateway, monkeypatch) == 1  # of eleven messages, one is too many
        assert await looked_at(gateway, monkeypatch) == 0
    gateway.clock.ahead += 8 * DAY
    assert await looked_at(gateway, monkeypatch) == 3
    assert await looked_at(gateway, monkeypatch) == 0
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        await say(client, 3)
        assert await looked_at(gateway, monkeypatch) == 0
        assert await offsets(client) == [12, 13, 14]


async def test_edits_take_offsets_and_no_place(own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = own_gateway(retention_messages=5)
    async with App(gateway) as app, app.in_room("alice", "lobby") as client:
        await say(client, 4)
        first = (await client.ask("chat.history", room="lobby"))["messages"][0]
        for text in "abc":
            await client.ask("chat.edit", room="lobby", message_id=first["id"], text=text)
            await client.expect("chat.edited")
        assert await prune(gateway) == 0
        assert await looked_at(gateway, monkeypatch) == 0  # once is enough to know that there are four
        await say(client, 1)
        assert await looked_at(gateway, monkeypatch) == 0
        await say(client, 1)
        assert await prune(gateway) == 1
        assert await offsets(client) == [1, 3, 4, 8, 9]  # the edited one is among the newest


class PrunedRoom:
    """A room that is changed and pruned at random, and what it must hold: each message's last change, and its time."""

    def __init__(self, gateway: Gateway, client: ChatClient, name: str) -> None:
        self._gateway = gateway
        self._client = client
        self._name = name
        self._random = random.Random(name)
        self._expected: dict[str, tuple[int, float]] = {}

    async def live(self, steps: int) -> None:
        """Take some steps, and compare after each."""
        await self._client.ask("room.join", room=self._name)
        for _ in range(steps):
            await self._random.choice((self._send, self._edit, self._delete, self._wait, self._age, self._count))()
            found = (await self._client.ask("chat.history", room=self._name, limit=100))["messages"]
            kept = {id: changed for id, (changed, _) in self._expected.items()}
            assert {message["id"]: message["changed"] for message in found} == kept

    async def _send(self) -> None:
        for _ in range(self._random.randint(1, 6)):
            sent = await self._client.ask("chat.send", room=self._name, text="hi")
            self._note(sent["message"])

    async def _edit(self) -> None:
        await self._change("chat.edit", text="ho")

    async def _delete(self) -> None:
        await self._change("chat.delete")

    async def _change(self, type_: str, **content: str) -> None:
        if not self._expected:
            return
        id = self._random.choice(sorted(self._expected))
        number = await self._client.start(type_, room=self._name, message_id=id, **content)
        answer = await self._client.until(id=number)  # an error for a message that is deleted already
        if answer["type"] == "reply" and answer["data"]["message"]["changed"] != self._expected[id][0]:
            self._note(answer["data"]["message"])

    def _note(self, message: dict[str, Any]) -> None:
        self._expected[message["id"]] = message["changed"], self._gateway.clock.ahead

    async def _wait(self) -> None:
        self._gateway.clock.ahead += self._random.randint(1, 40) * MINUTE

    async def _age(self) -> None:
        age = (self._random.randint(5, 60) + 0.5) * MINUTE
        await prune(self._gateway, retention_days=age / DAY)
        self._keep(lambda _, changed_at: changed_at > self._gateway.clock.ahead - age)

    async def _count(self) -> None:
        number = self._random.randint(1, 8)
        await prune(self._gateway, retention_messages=number)
        newest = sorted(changed for changed, _ in self._expected.values())[-number:]
        self._keep(lambda changed, _: changed in newest)

    def _keep(self, is_kept: Callable[[int, float], bool]) -> None:
        self._expected = {id: state for id, state in self._expected.items() if is_kept(*state)}


async def test_whatever_happens_in_a_room_it_keeps_what_the_settings_say(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(token_minutes=24 * 60)
    async with App(gateway) as app, app.connect("alice") as client:
        client.ignored |= {"chat.message", "chat.edited", "chat.deleted"}
        for number in range(10):
            await PrunedRoom(gateway, client, f"room-{number}").live(steps=30)


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
