"""A node that missed how a membership ended does not remember the user as a member."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from gateway.rooms.history_reader import Departed, HistoryReader
from gateway.store.engine import Database, StoreUnavailable
from handlers.errors import Unavailable
from tests.gateway.rooms.nodes import Ear, Nodes, running_nodes
from tests.support.waiting import until


@pytest.fixture
async def nodes(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    """Two nodes that remember messages, with a network that holds back every event."""
    async with running_nodes(2, tmp_path, store_url, monkeypatch, "ann", "ben", "cat", window=10) as running:
        yield running
        assert [mistake for ear in running.ears for mistake in ear.mistakes] == []


@pytest.fixture
async def ann(nodes: Nodes) -> Ear:
    """Ann, the owner of the lobby, on one node. Cat is on the other."""
    ann, cat = nodes.ear(0, "ann"), nodes.ear(1, "cat")
    await ann.rooms.create("lobby", title=None, private=False)
    await ann.join("lobby")
    await cat.join("lobby")
    return ann


def during_the_question(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[], Awaitable[object]], after: Callable[[], Awaitable[object]]
) -> None:
    """Do something before and after the store answers which users have left, once."""
    ask, steps = HistoryReader.departed, [before, after]

    async def departed(reader: HistoryReader, name: str, user_ids: Collection[str]) -> Departed | None:
        if steps:
            await steps.pop(0)()
        found = await ask(reader, name, user_ids)
        if steps:
            await steps.pop(0)()
        return found

    monkeypatch.setattr(HistoryReader, "departed", departed)


async def nothing() -> None: ...


async def test_a_member_that_was_kicked_and_disconnects_during_the_question_is_not_remembered(
    nodes: Nodes, ann: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = nodes.ear(1, "ben")
    await ben.join("lobby")
    await ann.rooms.kick("lobby", "ben")

    async def disconnect() -> None:
        ben.go()
        nodes.states[1].connections.remove(ben)

    during_the_question(monkeypatch, nothing, disconnect)
    await nodes.sweep()
    await until(lambda: nodes.states[1].hub.find_certain("lobby") is not None)
    assert not nodes.states[1].hub.knows_member("lobby", ben.user_id)


async def test_a_member_that_joins_during_the_question_and_is_kicked_is_sent_away(
    nodes: Nodes, ann: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = nodes.ear(0, "ben")
    await ben.join("lobby")
    await ben.rooms.leave("lobby")
    late = nodes.ear(1, "ben")

    async def join_and_be_kicked() -> None:
        await late.join("lobby")
        await ann.rooms.kick("lobby", "ben")

    during_the_question(monkeypatch, join_and_be_kicked, nothing)
    await nodes.sweep()
    await until(lambda: nodes.states[1].hub.find_certain("lobby") is not None)
    await nodes.sweep()
    await until(lambda: "lobby" not in late.joined)
    assert not nodes.states[1].hub.knows_member("lobby", ben.user_id)


async def test_a_join_that_has_read_before_a_kick_that_only_the_store_tells_reads_again(
    nodes: Nodes, ann: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = nodes.ear(0, "ben")
    for _ in range(2):
        await ben.join("lobby")
        await ben.rooms.leave("lobby")
    await ben.join("lobby")
    slow, hub = nodes.ear(1, "ben"), nodes.states[1].hub
    read = []

    async def read_and_be_kicked() -> None:
        await hub.begin_join("lobby", slow)
        found, _ = await nodes.in_store("lobby")
        read.append(found)
        await ann.rooms.kick("lobby", "ben")

    during_the_question(monkeypatch, read_and_be_kicked, nothing)
    await nodes.sweep()
    await until(lambda: hub.find_certain("lobby") is not None)
    [found] = read
    assert found is not None
    hub.complete_join(slow, found.position)
    assert "lobby" not in slow.joined
    assert not hub.knows_member("lobby", ben.user_id)


@pytest.mark.parametrize("end", ["leave", "kick", "delete"])
async def test_an_end_whose_answer_is_lost_is_found_without_another_event(
    nodes: Nodes, ann: Ear, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    ben, phone = nodes.ear(0, "ben"), nodes.ear(0, "ben")
    await ben.join("lobby")
    with monkeypatch.context() as patch:
        for way in ("transact", "run_script"):
            patch.setattr(Database, way, losing_the_answer(getattr(Database, way)))
        with pytest.raises(Unavailable):
            await {
                "leave": lambda: phone.rooms.leave("lobby"),
                "kick": lambda: ann.rooms.kick("lobby", "ben"),
                "delete": lambda: ann.rooms.delete("lobby"),
            }[end]()
    await until(lambda: "lobby" not in ben.joined)
    assert ben.kinds()[-1][0] == ("room.deleted" if end == "delete" else "room.left")
    assert ("lobby" in ann.joined) == (end != "delete")


def losing_the_answer(do: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def do_and_fail(*given: Any, **more: Any) -> Any:
        await do(*given, **more)
        raise StoreUnavailable("store")

    return do_and_fail
