"""What a node remembers of its rooms answers for the store, unless it is in doubt."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.bus.base import Logged
from gateway.chat.verbs.join_replies import Joined
from gateway.chat.verbs.joins import Joins
from gateway.chat.verbs.room_transactions import RoomTransactions
from gateway.core.clock import SystemClock
from gateway.rooms.history_reader import Changes, HistoryReader
from gateway.rooms.memory import MemoryLimits, RoomMemory
from gateway.rooms.retention import Retention
from gateway.rooms.room import Room
from gateway.rooms.window import Window, WindowLimits
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.rooms import RoomRow
from gateway.testing import Gateway
from gateway.transport.frames import text_frame
from handlers.errors import NotAMember, NotFound
from schemas.messages.rooms import JoinReply, JoinRoom, Role
from tests.conftest import OwnGateway
from tests.gateway.rooms.nodes import Ear, Nodes, running_nodes
from tests.support.client import WAIT_SECONDS, App, Frame
from tests.support.waiting import until


@contextmanager
def silent_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the store answer no question while the context lasts."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("store")

    with monkeypatch.context() as patch:
        for name in ("fetch", "query", "transact", "run_script"):
            patch.setattr(Database, name, fail)
        yield


def position(reply: Frame) -> Frame:
    return {"epoch": reply["epoch"], "offset": reply["offset"]}


def answered(gateway: Gateway) -> tuple[int, int]:
    """Return how many joins memory has answered, and the store."""
    memory = gateway.state.hub.memory
    return memory.hits, memory.misses


async def test_a_known_member_joins_and_resumes_without_the_store(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        first = await ann.say("lobby", "one", client_id="c-1")
        await ben.expect("chat.message", text="one")
        edited = (await ann.ask("chat.edit", room="lobby", message_id=first["id"], text="two"))["message"]
        await ann.expect("chat.edited")
        edited_for_ben = await ben.expect("chat.edited")
        with silent_store(monkeypatch):
            joined = await ben.ask("room.join", room="lobby")
            assert joined["messages"] == [edited_for_ben]
            assert (joined["offset"], joined["members"]) == (2, 2)
            assert (await ann.ask("room.join", room="lobby"))["messages"] == [edited]
            since = {"epoch": joined["epoch"], "offset": 1}
            resumed = await ben.ask("room.join", room="lobby", since=since)
            assert resumed["events"] == [{"type": "chat.edited", "data": edited_for_ben}]
            many = await ben.ask("room.resume", rooms=[{"room": "lobby", "since": position(joined)}])
            caught_up = {"room": "lobby", **position(joined), "members": 2, "recovered": True, "events": []}
            assert many == {"rooms": [caught_up], "has_more": False}
            assert (await ben.ask("room.join", room="lobby", since=since, limit=0))["reason"] == "too_many"
        await ann.say("lobby", "three")
        assert (await ben.expect("chat.message"))["text"] == "three"
        await ben.expect_nothing()


async def test_what_memory_cannot_know_is_asked_of_the_store(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with App(own_gateway()) as app, app.in_room("alice", "lobby") as ann, app.connect("bob") as ben:
        with silent_store(monkeypatch):
            assert (await ben.refused("room.join", room="lobby"))["status"] == 50300, "a stranger"
            assert (await ann.refused("room.join", room="attic"))["status"] == 50300, "a room that is not heard"
            beyond = {"epoch": (await ann.ask("room.join", room="lobby"))["epoch"], "offset": 9}
            assert (await ann.refused("room.join", room="lobby", since=beyond))["status"] == 50300
        assert (await ann.refused("room.join", room="lobby", since=beyond))["status"] == 41000
        await ann.say("lobby", "still here")


async def test_a_room_stays_for_those_that_return_and_is_forgotten_later(
    own_gateway: OwnGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = own_gateway()
    async with App(gateway) as app:
        async with app.in_room("alice", "lobby") as ann:
            said = await ann.say("lobby", "hello")
        async with app.connect("alice") as ann:
            await ann.expect_nothing()  # the first connection is gone
            with silent_store(monkeypatch):
                assert (await ann.ask("room.join", room="lobby"))["messages"] == [said]
        async with app.connect("bob") as ben:
            await ben.expect_nothing()
            room = gateway.state.hub.find("lobby")
            assert room is not None
            assert room.leaving is not None
            gateway.loop.call_soon_threadsafe(room.leaving.call_now)
            await ben.expect_nothing()
            assert gateway.state.hub.find("lobby") is None
            assert gateway.state.hub.memory.size == 0


async def test_a_membership_that_ends_while_the_member_is_away_is_not_remembered(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app, app.connect("alice") as ann:
        await ann.ask("room.create", room="den", private=True)
        await ann.ask("room.join", room="den")
        await app.token("bob")
        await ann.ask("room.invite", room="den", user="bob")
        async with app.connect("bob") as ben:
            await ben.ask("room.join", room="den")
        await ann.expect("room.joined")
        await ann.ask("room.kick", room="den", user="bob")
        await ann.expect("room.left", user="bob")
        assert (await ann.ask("room.join", room="den"))["members"] == 1
        async with app.connect("bob") as ben:
            assert (await ben.refused("room.join", room="den"))["status"] == 40400


async def test_a_room_made_anew_has_nothing_of_the_old_one(own_gateway: OwnGateway) -> None:
    async with App(own_gateway()) as app, app.connect("alice") as ann:
        await ann.ask("room.create", room="lobby")
        async with app.connect("bob") as ben:
            old = await ben.ask("room.join", room="lobby")
        await ann.ask("chat.send", room="lobby", text="of the old one")
        await ann.ask("room.delete", room="lobby")
        await ann.ask("room.create", room="lobby")
        async with app.connect("bob") as ben:
            new = await ben.ask("room.join", room="lobby", since=position(old))
            assert (new["reason"], new["messages"], new["offset"]) == ("epoch_changed", [], 0)


async def test_messages_that_retention_removes_are_forgotten(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(retention_days=5 / (24 * 60))
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann:
        before = await ann.ask("room.join", room="lobby")
        await ann.say("lobby", "old")
        gateway.clock.ahead += 6 * 60
        young = await ann.say("lobby", "young")
        assert (await ann.ask("room.join", room="lobby"))["messages"] == [young]
        retention = Retention(gateway.settings, gateway.state.database, gateway.clock)
        pruning = asyncio.run_coroutine_threadsafe(retention.prune(), gateway.loop)
        assert await asyncio.wait_for(asyncio.wrap_future(pruning), WAIT_SECONDS) == 1
        resumed = await ann.ask("room.join", room="lobby", since=position(before))
        assert (resumed["reason"], resumed["messages"]) == ("too_old", [young])


async def test_no_more_messages_are_remembered_than_retention_keeps(own_gateway: OwnGateway) -> None:
    async with App(own_gateway(retention_messages=2)) as app, app.in_room("alice", "lobby") as ann:
        said = [await ann.say("lobby", str(number)) for number in range(4)]
        newest = await ann.ask("room.join", room="lobby", limit=2)
        assert newest["messages"] == said[2:]


async def test_a_window_smaller_than_one_message_leaves_messages_to_the_store(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(room_window_bytes=1)
    async with App(gateway) as app, app.in_room("alice", "lobby") as ann, app.in_room("bob", "lobby") as ben:
        await ann.expect("room.joined")
        first = await ann.say("lobby", "one")
        second = await ann.say("lobby", "two")
        await ben.expect("chat.message", text="one")
        await ben.expect("chat.message", text="two")
        hits, misses = answered(gateway)
        joined = await ben.ask("room.join", room="lobby")
        assert joined["messages"] == [first, second]
        since = {"epoch": joined["epoch"], "offset": 1}
        assert (await ben.ask("room.join", room="lobby", since=since))["events"] == [
            {"type": "chat.message", "data": second}
        ]
        assert answered(gateway) == (hits, misses + 2)
        caught_up = await ben.ask("room.join", room="lobby", since=position(joined))
        assert (caught_up["recovered"], caught_up["events"]) == (True, [])
        assert answered(gateway) == (hits + 1, misses + 2)


@pytest.fixture
async def nodes(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    """Two nodes that remember, with ann on the first, and ben on the second."""
    async with running_nodes(2, tmp_path, store_url, monkeypatch, "ann", "ben", window=100) as nodes:
        nodes.air.is_clear = True
        await nodes.ear(0, "ann").rooms.create("lobby", title=None, private=False)
        yield nodes


class Crowd:
    """Members that join at once, and wait for one read of the window."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ears: list[Ear]) -> None:
        self.ears, self.joining = ears, list[asyncio.Task[JoinReply]]()
        self.reads = self.waiting = 0
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        read, load = HistoryReader.newest_changes, RoomMemory.load

        async def newest_changes(reader: HistoryReader, room: RoomRow, limit: int, max_bytes: int) -> Changes:
            self.reads += 1
            await asyncio.shield(self.answer)
            return await read(reader, room, limit, max_bytes)

        async def load_counted(memory: RoomMemory, room: Room, row: RoomRow) -> None:
            self.waiting += 1
            await load(memory, room, row)

        def read_alone(*_: Any, **__: Any) -> Any:
            raise AssertionError("a member has read alone")

        monkeypatch.setattr(HistoryReader, "newest_changes", newest_changes)
        monkeypatch.setattr(RoomMemory, "load", load_counted)
        monkeypatch.setattr(RoomTransactions, "read", read_alone)

    async def join(self) -> None:
        """Return when all wait for the read that the first has begun."""
        for ear in self.ears:
            self.joining.append(asyncio.create_task(ear.join("lobby")))
        await until(lambda: self.waiting == len(self.ears))


@pytest.fixture
async def crowd(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    """Members that join at once, when the first node remembers nothing of their room."""
    ann, ben = nodes.ear(0, "ann"), nodes.ear(0, "ben")
    for ear in (ann, ben):
        await ear.join("lobby")
    await ann.say("lobby")
    for ear in (ann, ben):
        ear.go()
    room = nodes.states[0].hub.find("lobby")
    assert room is not None
    nodes.states[0].hub.memory.forget(room)
    return Crowd(monkeypatch, [ann, ben, nodes.ear(0, "ann")])


async def test_a_client_that_vanishes_does_not_take_the_read_of_a_window_from_the_others(crowd: Crowd) -> None:
    await crowd.join()
    crowd.joining[0].cancel()
    crowd.answer.set_result(None)
    for joining in crowd.joining[1:]:
        assert [message.offset for message in (await joining).messages or ()] == [1]
    assert crowd.reads == 1


async def test_all_that_wait_for_a_window_learn_at_once_that_the_store_does_not_answer(crowd: Crowd) -> None:
    await crowd.join()
    crowd.answer.set_exception(StoreUnavailable("store"))
    for joining in crowd.joining:
        with pytest.raises(StoreUnavailable):
            await joining
    assert crowd.reads == 1


async def test_a_node_that_is_behind_asks_the_store_about_a_position_beyond_its_own(nodes: Nodes) -> None:
    ann, ben = nodes.ear(0, "ann"), nodes.ear(1, "ben")
    await ann.join("lobby")
    await ben.join("lobby")
    nodes.air.is_clear = False  # what follows is late
    await ann.say("lobby", "seen elsewhere")
    await ann.say("lobby", "missed")
    reply = await ben.join("lobby", since=ann.views["lobby"].position.model_copy(update={"offset": 1}))
    assert [event.data.text for event in reply.events or ()] == ["missed"]


async def test_while_the_bus_is_down_the_store_answers(nodes: Nodes) -> None:
    ann, ben = nodes.ear(0, "ann"), nodes.ear(1, "ben")
    await ann.join("lobby")
    await ben.join("lobby")
    hits = nodes.states[1].hub.memory.hits
    nodes.air.is_clear = nodes.air.is_up = False
    await ann.say("lobby", "not heard")
    assert [message.text for message in (await ben.join("lobby")).messages or ()] == ["not heard"]
    assert nodes.states[1].hub.memory.hits == hits


async def test_a_room_in_doubt_is_read_again_before_memory_answers(nodes: Nodes) -> None:
    ann, ben = nodes.ear(0, "ann"), nodes.ear(1, "ben")
    await ann.join("lobby")
    await ben.join("lobby")
    hub = nodes.states[1].hub
    nodes.air.is_clear = False
    await ann.say("lobby", "lost")
    hub.repair.check_soon("lobby")
    assert hub.find_certain("lobby") is None
    assert [message.text for message in (await ben.join("lobby")).messages or ()] == ["lost"]


async def test_a_kick_on_another_node_ends_what_is_remembered(nodes: Nodes) -> None:
    ann, ben = nodes.ear(0, "ann"), nodes.ear(1, "ben")
    await ann.join("lobby")
    await ben.join("lobby")
    ben.go()
    await ann.rooms.update("lobby", title=None, private=True)
    await ann.rooms.kick("lobby", "ben")
    with pytest.raises((NotAMember, NotFound)):
        await ben.join("lobby")


async def test_rooms_may_forget_each_other_in_the_middle_of_a_resume(nodes: Nodes) -> None:
    ben, names = nodes.ear(1, "ben"), [f"room-{number}" for number in range(5)]
    for name in names:
        await ben.rooms.create(name, title=None, private=False)
        await ben.join(name)
        await ben.say(name, "x" * 500)
    memory = nodes.states[1].hub.memory
    memory.limits = replace(memory.limits, size=memory.size)  # the pages of the reply are too much now
    reply = await ben.resume(*(JoinRoom(room=name) for name in names))
    assert [each.room for each in reply.rooms] == names
    assert memory.size <= memory.limits.size
    for name in names:
        await ben.say(name)
    assert ben.mistakes == []


@pytest.mark.parametrize("window", [0, 100])
async def test_of_two_first_joins_the_one_that_read_earlier_and_ends_later_misses_nothing(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    async with running_nodes(2, tmp_path, store_url, monkeypatch, "ann", "ben", "cat", window=window) as nodes:
        nodes.air.is_clear = True
        ann, ben, cat = nodes.ear(0, "ann"), nodes.ear(1, "ben"), nodes.ear(1, "cat")
        await ann.rooms.create("lobby", title=None, private=False)
        await ann.join("lobby")
        await ann.say("lobby")
        read, has_read, may_end = Joins.read, asyncio.Event(), asyncio.Event()

        async def read_and_wait(joins: Joins, request: JoinRoom, role: Role | None, *, has_entered: bool) -> Joined:
            joined = await read(joins, request, role, has_entered=has_entered)
            if not has_read.is_set():
                has_read.set()
                await may_end.wait()
            return joined

        monkeypatch.setattr(Joins, "read", read_and_wait)
        slow = asyncio.create_task(ben.join("lobby"))
        await asyncio.wait_for(has_read.wait(), WAIT_SECONDS)
        await ann.say("lobby", "between the two reads")
        await cat.join("lobby")
        may_end.set()
        await asyncio.wait_for(slow, WAIT_SECONDS)
        await ann.say("lobby", "after both")
        await until(lambda: ben.at["lobby"][1] == cat.at["lobby"][1] == 3)
        assert ben.views["lobby"].messages == await nodes.log("lobby")
        assert ben.mistakes == cat.mistakes == []


def test_the_bound_holds_for_thousands_of_rooms_with_full_windows() -> None:
    limit, rooms = 2_000_000, []
    memory = RoomMemory(
        HistoryReader(Database("sqlite:///unused.db")),
        SystemClock(),
        MemoryLimits(WindowLimits(5, 65536), limit, seconds=60),
    )
    tracemalloc.start()
    try:
        for number in range(5000):
            room = Room(f"room-{number}", lambda _: ())
            rooms.append(room)
        empty, _ = tracemalloc.get_traced_memory()
        for room in rooms:
            room.epoch, room.position = "k3f9", 0
            room.window = Window("k3f9", 0, is_whole=True)
            for offset in range(1, 6):
                memory.record(room, event(room.name, offset))
            memory.record_member(room, "ann", 0)
        full, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert memory.size <= limit
    assert full - empty < 2 * limit
    assert rooms[0].window is None, "the room that was asked for least recently forgets first"
    assert rooms[-1].window is not None
    assert rooms[-1].members


def event(room: str, offset: int) -> Logged:
    text = b'{"type":"chat.message","data":{"id":"k3f9.%d","text":"%b"}}' % (offset, b"x" * 1000)
    return Logged(text_frame(text), room, "k3f9", offset)
