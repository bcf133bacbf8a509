"""A room is requested once at a time, and its log is read only after the bus brings its events."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.rooms.nodes import Ear, Nodes, running_nodes
from tests.support.waiting import until


@pytest.fixture
async def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    """Two nodes; the second waits for an answer of the bus. Ann has made the lobby on the first."""
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    async with running_nodes(2, tmp_path, url, monkeypatch, "ann", "ben", "cat") as running:
        ann = running.ear(0, "ann")
        await ann.rooms.create("lobby", title=None, private=False)
        await ann.join("lobby")
        running.bus(1).answer = asyncio.Event()
        yield running
        assert [mistake for ear in running.ears for mistake in ear.mistakes] == []


def answer(nodes: Nodes) -> None:
    waiting = nodes.bus(1).answer
    assert waiting is not None
    waiting.set()


def start_joining(ear: Ear) -> asyncio.Task[object]:
    return asyncio.create_task(ear.join("lobby"))


async def test_a_second_join_waits_for_the_bus_as_well_and_misses_nothing(nodes: Nodes) -> None:
    ann, ben, cat = nodes.ears[0], nodes.ear(1, "ben"), nodes.ear(1, "cat")
    first = start_joining(ben)
    await until(lambda: nodes.bus(1).asked)
    second = start_joining(cat)
    await until(lambda: "lobby" in cat.joined)
    for _ in range(3):
        await ann.say("lobby", "which the bus does not bring to a node that has not asked")
    assert (first.done(), second.done()) == (False, False)
    answer(nodes)
    await asyncio.gather(first, second)
    offset = await ann.say("lobby")
    nodes.bus(1).let_in(len(nodes.bus(1).late))
    await until(lambda: ben.at["lobby"][1] == cat.at["lobby"][1] == offset)
    assert nodes.bus(1).asked == ["lobby"]


async def test_a_first_join_that_gives_up_takes_nothing_from_the_second(nodes: Nodes) -> None:
    ben, cat = nodes.ear(1, "ben"), nodes.ear(1, "cat")
    first = start_joining(ben)
    await until(lambda: nodes.bus(1).asked)
    second = start_joining(cat)
    await until(lambda: "lobby" in cat.joined)
    first.cancel()
    await asyncio.wait([first])
    assert ben.joined == {}
    answer(nodes)
    await second
    assert (nodes.bus(1).asked, nodes.bus(1).rooms) == (["lobby"], {"lobby"})


async def test_a_room_that_all_gave_up_is_given_back_when_the_bus_has_answered(nodes: Nodes) -> None:
    first = start_joining(nodes.ear(1, "ben"))
    await until(lambda: nodes.bus(1).asked)
    first.cancel()
    await asyncio.wait([first])
    assert nodes.states[1].hub.room_count == 0
    assert nodes.bus(1).given_back == []
    answer(nodes)
    await until(lambda: nodes.bus(1).given_back == ["lobby"])
    await nodes.ear(1, "cat").join("lobby")
    assert nodes.bus(1).rooms == {"lobby"}


async def test_a_room_left_and_joined_again_before_the_bus_has_answered_is_asked_for_once(nodes: Nodes) -> None:
    ben, cat = nodes.ear(1, "ben"), nodes.ear(1, "cat")
    first = start_joining(ben)
    await until(lambda: nodes.bus(1).asked)
    first.cancel()
    await asyncio.wait([first])
    second = start_joining(cat)
    await until(lambda: "lobby" in cat.joined)
    answer(nodes)
    await second
    assert (nodes.bus(1).asked, nodes.bus(1).rooms) == (["lobby"], {"lobby"})
    cat.go()
    assert nodes.bus(1).rooms == set()
    await ben.join("lobby")
    assert (nodes.bus(1).asked, nodes.bus(1).rooms) == (["lobby", "lobby"], {"lobby"})


async def test_a_bus_that_refuses_is_told_to_all_that_wait_and_asked_again_by_the_next(nodes: Nodes) -> None:
    ben, cat, bus = nodes.ear(1, "ben"), nodes.ear(1, "cat"), nodes.bus(1)
    bus.error = OSError("refused")
    waiting = [start_joining(ben), start_joining(cat)]
    await until(lambda: "lobby" in cat.joined)
    answer(nodes)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    assert (ben.joined, cat.joined, nodes.states[1].hub.room_count) == ({}, {}, 0)
    bus.error = None
    await ben.join("lobby")
    assert bus.rooms == {"lobby"}
