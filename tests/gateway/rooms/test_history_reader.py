"""Events that the bus lost are found in the store: when the bus reports it, when it is down, and now and then."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.bus.memory import MemoryBus
from gateway.rooms.history_reader import HistoryReader
from gateway.rooms.reconciler import Reconciler
from gateway.store import rooms
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.pruning import prune
from gateway.store.rooms import RoomPosition
from gateway.store.storage import size_of
from tests.gateway.rooms.nodes import Ear, Nodes, running_nodes
from tests.gateway.store.test_pages import say
from tests.support.users import add_users
from tests.support.waiting import until


@pytest.fixture
async def nodes(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    """Two nodes with a network that holds back every event until the test releases it."""
    async with running_nodes(2, tmp_path, store_url, monkeypatch, "ann", "ben") as running:
        yield running
        assert [mistake for ear in running.ears for mistake in ear.mistakes] == []


async def hearing(nodes: Nodes, *rooms: str) -> tuple[Ear, Ear]:
    """Ann on one node and Ben on the other, subscribed to these rooms."""
    ann, ben = nodes.ear(0, "ann"), nodes.ear(1, "ben")
    for room in rooms:
        await ann.rooms.create(room, title=None, private=False)
        await ann.join(room)
        await ben.join(room)
    return ann, ben


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The rooms of each question to the store."""
    asked: list[Sequence[str]] = []
    real = HistoryReader.positions

    async def positions(gaps: HistoryReader, names: Sequence[str]) -> dict[str, RoomPosition]:
        asked.append(sorted(names))
        return await real(gaps, names)

    monkeypatch.setattr(HistoryReader, "positions", positions)
    return asked


async def test_what_the_bus_knows_to_have_lost_is_read_with_one_question_for_all_rooms(
    nodes: Nodes, looks: list[Sequence[str]]
) -> None:
    ann, ben = await hearing(nodes, "red", "green", "blue")
    for text in ("one", "two"):
        await ann.say("red", text)
        await ann.say("blue", text)
    hub = nodes.states[1].hub
    for _ in range(100):
        for room in (None, "red", "green", "nobody hears it"):
            hub.repair.check_soon(room)
    await until(lambda: (ben.at["red"][1], ben.at["blue"][1]) == (2, 2))
    assert looks == [["blue", "green", "red"]]
    assert (hub.repair.gaps_read, hub.repair.rooms_behind, hub.repair.resyncs) == (2, 2, 0)
    nodes.bus(1).let_in(4)
    assert ben.kinds() == [("chat.message", 1), ("chat.message", 2)] * 2


async def test_a_store_that_is_down_is_asked_again(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.rooms.repair.RETRY_SECONDS", 0.01)
    ann, ben = await hearing(nodes, "red")
    await ann.say("red")
    failures = 0
    find, read = Database.fetch, HistoryReader.read_gap

    async def fail(*_: object, **__: object) -> None:
        nonlocal failures
        failures += 1
        raise StoreUnavailable("store")

    monkeypatch.setattr(Database, "fetch", fail)
    monkeypatch.setattr(HistoryReader, "read_gap", fail)
    nodes.states[1].hub.repair.check_soon(None)
    await until(lambda: failures >= 2)
    monkeypatch.setattr(Database, "fetch", find)
    await until(lambda: nodes.states[1].hub.repair.gaps_read)
    monkeypatch.setattr(HistoryReader, "read_gap", read)
    await until(lambda: ben.at["red"][1] == 1)


async def test_what_is_lost_while_a_gap_is_read_is_looked_for_after_it(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, ben = await hearing(nodes, "red")
    read, has_read, may_go_on = HistoryReader.read_gap, asyncio.Event(), asyncio.Event()

    async def slow(gaps: HistoryReader, name: str, epoch: str, offset: int) -> object:
        gap = await read(gaps, name, epoch, offset)
        has_read.set()
        await may_go_on.wait()
        return gap

    monkeypatch.setattr(HistoryReader, "read_gap", slow)
    await ann.say("red")
    hub = nodes.states[1].hub
    hub.repair.check_soon("red")
    async with asyncio.timeout(20):
        await has_read.wait()
    await ann.say("red")
    await hub.repair.check(["red"])
    may_go_on.set()
    await until(lambda: ben.at["red"][1] == 2)


async def test_what_is_lost_while_the_first_one_joins_is_looked_for_after_that(nodes: Nodes) -> None:
    ann, ben = await hearing(nodes, "red")
    ben.go()
    hub, room = nodes.states[1].hub, (await nodes.in_store("red"))[0]
    assert room is not None
    await hub.begin_join("red", ben)
    ben.at["red"] = (room.epoch, room.offset)
    await ann.say("red")
    nodes.bus(1).late.clear()
    await hub.repair.check(["red"])
    hub.complete_join(ben, room.position)  # as it was before
    await until(lambda: ben.at["red"][1] == 1)


async def test_whoever_joins_anew_is_not_told_to_join_anew(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.rooms.history_reader.MAX_MISSED", 1)
    ann, ben = await hearing(nodes, "red")
    tab = nodes.ear(1, "ben")
    await tab.join("red")
    for _ in range(2):
        await ann.say("red")
    await tab.join("red")
    await nodes.sweep()
    await until(lambda: ("resync", 2) in ben.kinds())
    assert nodes.states[1].hub.repair.resyncs == 1
    assert tab.kinds() == []


async def test_the_sweep_finds_an_unnoticed_loss(nodes: Nodes) -> None:
    ann, ben = await hearing(nodes, "red")
    state = nodes.states[1]
    async with Reconciler(state.hub, state.bus, 0.05).running() as sweep:
        await ann.say("red")
        await until(lambda: ben.at["red"][1] == 1)
        await ann.rooms.kick("red", "ben")
        await until(lambda: "red" not in ben.joined)
        swept = sweep.sweeps
        await until(lambda: sweep.sweeps > swept)


async def test_while_the_bus_is_down_the_store_is_asked_every_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.rooms.reconciler.DOWN_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    async with running_nodes(2, tmp_path, url, monkeypatch, "ann", "ben") as nodes:  # which sweep once an hour
        ann, ben = await hearing(nodes, "red")
        await ann.say("red")
        sweep = nodes.states[1].reconciler
        assert sweep.sweeps == 0
        nodes.air.is_up = False
        await until(lambda: ben.at["red"][1] == 1)
        await until(lambda: sweep.sweeps >= 3)


async def test_rooms_are_swept_in_batches_over_the_time_that_a_sweep_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: list[Sequence[str]]
) -> None:
    monkeypatch.setattr("gateway.rooms.reconciler.BATCH", 2)
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    async with running_nodes(2, tmp_path, url, monkeypatch, "ann", "ben") as nodes:
        await hearing(nodes, "a", "b", "c", "d", "e")
        state = nodes.states[1]
        async with Reconciler(state.hub, state.bus, 0.3).running() as sweep:
            await until(lambda: sweep.sweeps)
        assert looks == [["a", "b"], ["c", "d"], ["e"]]


async def test_a_bus_in_memory_loses_nothing_and_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    async with running_nodes(1, tmp_path, url, monkeypatch) as nodes:
        tasks = asyncio.all_tasks()
        async with Reconciler(nodes.states[0].hub, MemoryBus(), 0.001).running():
            assert asyncio.all_tasks() == tasks


async def test_what_is_only_on_its_way_is_not_taken_for_lost(nodes: Nodes) -> None:
    ann, ben = await hearing(nodes, "red")
    hub = nodes.states[1].hub
    await ann.say("red")
    looking = asyncio.create_task(hub.repair.check(["red"]))
    await asyncio.sleep(0)
    nodes.bus(1).let_in()
    await looking
    assert ben.at["red"][1] == 1
    assert (hub.repair.rooms_behind, hub.repair.gaps_read) == (0, 0)


@pytest.mark.parametrize("max_bytes", [0, 65_536, 1_048_576])
async def test_long_messages_are_read_up_to_their_bytes_after_any_number_of_short_ones(
    database: Database, max_bytes: int
) -> None:
    [ann] = await database.transact(partial(add_users, names=["ann"]))
    room = await database.transact(partial(rooms.add, name="here", now=0))
    contents = [{"text": "hi"}] * 2500 + [{"body": "x" * 60_000}] * 40
    room = await database.transact(partial(say, room=room, sender=ann, contents=contents))
    stored = sum(size_of(each.get("text"), each.get("body")) for each in contents)
    changes = await HistoryReader(database).newest_changes(replace(room, stored_bytes=stored), 100, max_bytes)
    fitting = max_bytes // 60_000
    assert [row.changed for row in changes.rows] == list(range(room.offset - fitting + 1, room.offset + 1))
    assert (changes.floor, changes.is_whole) == (room.offset - fitting, False)


@pytest.mark.parametrize("count", [3, 5])
async def test_what_retention_removes_between_two_reads_is_not_taken_for_known(database: Database, count: int) -> None:
    [ann] = await database.transact(partial(add_users, names=["ann"]))
    room = await database.transact(partial(rooms.add, name="here", now=0))
    room = await database.transact(partial(say, room=room, sender=ann, contents=[{"text": "hi"}] * 5))
    remove = partial(prune, room_id=room.id, before=None, too_many=count, now=0, limit=100)
    await database.transact(remove)
    changes = await HistoryReader(database).newest_changes(room, 100, 65_536)
    assert [row.changed for row in changes.rows] == list(range(count + 1, 6))
    assert (changes.floor, changes.is_whole) == (count, True)
