"""The hub: whatever the bus does, all subscribers get the whole log, in order, once, or are asked to join again."""

import random
from collections.abc import Callable

import pytest

from gateway.bus.base import BusEvent, Logged, RoomEnded, RoomEvent
from gateway.bus.memory import MemoryBus
from gateway.core import faults
from gateway.rooms.history_reader import HistoryReader
from gateway.rooms.room import Room
from tests.conftest import OwnGateway
from tests.support.client import App, ChatClient, Frame


class BadBus:
    """A memory bus that loses, doubles and delays the events of rooms' logs, until it is told to behave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        self.behaves = False
        self.loses_all = False
        self._random = random.Random(seed)
        self._delayed: list[Logged] = []
        deliver = MemoryBus.publish

        async def publish(bus: MemoryBus, event: BusEvent) -> int:
            if not isinstance(event, Logged) or self.behaves:
                return await deliver(bus, event)
            for each in self._fate(event):
                await deliver(bus, each)
            return 0

        monkeypatch.setattr(MemoryBus, "publish", publish)

    def _fate(self, event: Logged) -> list[Logged]:
        chance = self._random.random()
        if self.loses_all or chance < 0.2:
            return []
        if chance < 0.4:
            return [event, event]
        if chance < 0.6:
            self._delayed.append(event)
            return []
        late, self._delayed = self._delayed, []
        return [event, *reversed(late)]


@pytest.fixture
def bad_bus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], BadBus]:
    return lambda seed: BadBus(monkeypatch, seed)


async def collect(client: ChatClient, top: int) -> list[Frame]:
    """All events of the log up to an offset, in order."""
    events: list[Frame] = []
    while not events or events[-1]["data"]["changed"] < top:
        frame = await client.next()
        if frame["type"] in {"chat.message", "chat.edited", "chat.deleted"}:
            events.append(frame)
    return events


@pytest.mark.parametrize("seed", range(5))
async def test_a_bus_that_loses_doubles_and_delays_is_not_noticed(
    own_gateway: OwnGateway, bad_bus: Callable[[int], BadBus], seed: int
) -> None:
    bus = bad_bus(seed)
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        for number in range(100):
            await ann.send({"type": "chat.send", "data": {"room": "lobby", "text": str(number)}})
        async with app.connect("carol") as cat:
            read = (await cat.ask("room.join", room="lobby"))["offset"]  # in the middle of it
            bus.behaves = True
            await ann.send({"type": "chat.send", "data": {"room": "lobby", "text": "the last one"}})
            for client, first in ((ann, 1), (ben, 1), (cat, read + 1)):
                offsets = [event["data"]["changed"] for event in await collect(client, 101)]
                assert offsets == list(range(first, 102))
                await client.expect_nothing()


async def test_edits_that_overtook_each_other_in_a_hole_leave_all_with_the_newest_state(
    own_gateway: OwnGateway, bad_bus: Callable[[int], BadBus]
) -> None:
    bus = bad_bus(0)
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        bus.loses_all = True
        first = (await ann.ask("chat.send", room="lobby", text="one"))["message"]
        second = (await ann.ask("chat.send", room="lobby", text="two"))["message"]
        await ann.ask("chat.edit", room="lobby", message_id=first["id"], text="one, edited")
        await ann.ask("chat.edit", room="lobby", message_id=first["id"], text="one, edited again")
        await ann.ask("chat.delete", room="lobby", message_id=second["id"])
        bus.behaves = True
        await ann.ask("chat.send", room="lobby", text="three")
        events = await collect(ben, 6)
        assert [(event["type"], event["data"]["changed"]) for event in events] == [
            ("chat.edited", 4),
            ("chat.deleted", 5),
            ("chat.message", 6),
        ]
        assert events[0]["data"]["text"] == "one, edited again"
        await ben.expect_nothing()


async def test_a_hole_that_is_too_large_to_close_is_told_as_resync_and_life_goes_on(
    own_gateway: OwnGateway, bad_bus: Callable[[int], BadBus]
) -> None:
    bus = bad_bus(0)
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        bus.loses_all = True
        for number in range(301):
            await ann.ask("chat.send", room="lobby", text=str(number))
        bus.behaves = True
        await ann.ask("chat.send", room="lobby", text="after the hole")
        resync = await ben.expect("resync", room="lobby", offset=302)
        await ben.expect_nothing()
        reply = await ben.ask("room.join", room="lobby", since={"epoch": resync["epoch"], "offset": 302})
        assert reply["recovered"]
        await ann.expect("resync")
        await ann.ask("chat.send", room="lobby", text="and on")
        for client in (ann, ben):
            await client.expect("chat.message", offset=303)
            await client.expect_nothing()


async def test_a_room_that_was_made_anew_unnoticed_is_told_as_resync_and_heard_no_more(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = MemoryBus.publish
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")

        async def lose_the_end(bus: MemoryBus, event: BusEvent) -> int:
            return 0 if isinstance(event, RoomEnded) else await deliver(bus, event)

        ben.ignored.add("room.joined")  # by its name alone, the new room is the old one
        monkeypatch.setattr(MemoryBus, "publish", lose_the_end)
        await ann.ask("room.delete", room="lobby")
        async with app.in_room("carol", "lobby") as cat:
            await ben.expect("resync", room="lobby", offset=0)
            await cat.ask("chat.send", room="lobby", text="not for those who were in the old one")
            await cat.expect("chat.message", offset=1)
            await ben.expect_nothing()
            assert (await ben.refused("chat.send", room="lobby", text="hello?"))["status"] == 40301


async def test_rooms_without_subscribers_are_forgotten(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(room_memory_seconds=0)
    async with App(gateway) as app:
        async with app.connect("alice") as ann:
            for number in range(20):
                await ann.ask("room.join", room=f"room-{number}")
            for number in range(10):
                await ann.ask("room.leave", room=f"room-{number}")
                await ann.expect("room.left")
            assert gateway.state.hub.room_count == 10
            await ann.ask("bye")
            await ann.expect("bye")
        async with app.connect("alice") as ann:
            await ann.expect_nothing()
        assert gateway.state.hub.room_count == 0


@pytest.mark.usefixtures("fresh_faults")
async def test_a_hole_with_a_message_that_cannot_be_read_is_told_as_resync_and_life_goes_on(
    own_gateway: OwnGateway, bad_bus: Callable[[int], BadBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("a row that nobody can read")

    bus = bad_bus(0)
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        monkeypatch.setattr(HistoryReader, "read_gap", fail)
        bus.loses_all = True
        await ann.ask("chat.send", room="lobby", text="lost")
        bus.behaves = True
        await ann.ask("chat.send", room="lobby", text="after the hole")
        for client in (ann, ben):
            await client.expect("resync", room="lobby", offset=2)
        await ann.ask("chat.send", room="lobby", text="and on")
        for client in (ann, ben):
            await client.expect("chat.message", offset=3)
            await client.expect_nothing()
    assert faults.counters == {"rooms": 1}


@pytest.mark.usefixtures("fresh_faults")
async def test_an_event_that_the_hub_fails_at_is_read_from_the_store_and_its_sender_is_answered(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_or_fault(room: Room, event: RoomEvent) -> int:
        if b"fails once" in event.frame.wire and not faults.counters:
            raise RuntimeError("a room fails")
        return real(room, event)

    real = Room.publish
    monkeypatch.setattr(Room, "publish", give_or_fault)
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        await ann.ask("chat.send", room="lobby", text="fails once")  # and nothing follows it
        for client in (ann, ben):
            await client.expect("chat.message", offset=1, text="fails once")
            await client.expect_nothing()
    assert faults.counters == {"bus": 1}
