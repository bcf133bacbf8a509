"""A user that has left a room hears it no more, however the news travels, and old news removes no user."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.bus.base import MemberLeft
from handlers.errors import NotAMember
from tests.gateway.rooms.nodes import Ear, Nodes, running_nodes
from tests.support.waiting import until


@pytest.fixture
async def nodes(store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    """Two nodes with a network that holds back every event until the test releases it."""
    async with running_nodes(2, tmp_path, store_url, monkeypatch, "ann", "ben", "cat") as running:
        yield running
        assert [mistake for ear in running.ears for mistake in ear.mistakes] == []


async def lobby(nodes: Nodes) -> tuple[Ear, Ear]:
    """Ann, the owner of the lobby, on one node, and Ben on the other."""
    ann, ben = nodes.ear(0, "ann"), nodes.ear(1, "ben")
    await ann.rooms.create("lobby", title=None, private=False)
    await ann.join("lobby")
    await ben.join("lobby")
    ben.heard.clear()
    return ann, ben


async def remade(ann: Ear) -> None:
    """Ann deletes the lobby, and makes a room with the same name."""
    await ann.rooms.delete("lobby")
    await ann.rooms.create("lobby", title=None, private=False)
    await ann.join("lobby")


async def test_whoever_came_back_is_not_sent_away_by_the_late_news_of_having_been_kicked(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    await ann.rooms.kick("lobby", "ben")
    await ben.join("lobby")
    offset = await ann.say("lobby")
    nodes.bus(1).let_in(len(nodes.bus(1).late))
    await until(lambda: ben.at["lobby"][1] == offset)
    assert ben.kinds() == [("chat.message", offset)]


async def test_a_kick_that_is_told_twice_sends_away_once(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    await ann.rooms.kick("lobby", "ben")
    [kick] = nodes.bus(1).late
    nodes.bus(1).let_in()
    assert ben.kinds() == [("room.left", "ben")]
    await ben.join("lobby")
    nodes.bus(1).receive(kick)
    assert "lobby" in ben.joined
    assert ben.kinds() == [("room.left", "ben")]


async def test_a_kick_ends_what_another_connection_heard_and_not_what_it_has_joined_since(nodes: Nodes) -> None:
    ann, old = await lobby(nodes)
    new = nodes.ear(1, "ben")
    await ann.rooms.kick("lobby", "ben")
    await new.join("lobby")
    nodes.bus(1).let_in()
    assert (old.kinds(), "lobby" in old.joined) == ([("room.left", "ben")], False)
    assert (new.kinds(), "lobby" in new.joined) == ([], True)


async def test_a_kick_that_is_lost_is_found_out_and_nothing_is_heard_after_it(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    cat = nodes.ear(1, "cat")
    await cat.join("lobby")
    await ann.rooms.kick("lobby", "ben")
    offset = await ann.say("lobby")
    await nodes.sweep()
    await until(lambda: cat.at["lobby"][1] == offset)
    assert [kind for kind in ben.kinds() if kind[1] != "cat"] == [("room.left", "ben")]
    assert cat.kinds() == [("room.left", "ben"), ("chat.message", offset)]
    assert "lobby" not in ben.joined
    assert nodes.states[1].hub.repair.rooms_behind == 1


async def test_whoever_left_and_came_back_unnoticed_stays(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    phone = nodes.ear(0, "ben")
    await ann.rooms.kick("lobby", "ben")
    await phone.join("lobby")
    late, nodes.bus(1).late = nodes.bus(1).late, []
    await nodes.sweep()
    offset = await ann.say("lobby")
    nodes.bus(1).let_in()
    await until(lambda: ben.at.get("lobby", ("", 0))[1] == offset)
    for event in late:
        nodes.bus(1).receive(event)
    assert "lobby" in ben.joined


async def test_departures_that_overtake_each_other_send_both_away_without_a_question(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    cat = nodes.ear(1, "cat")
    await cat.join("lobby")
    for name in ("ben", "cat"):
        await ann.rooms.kick("lobby", name)
    late = [event for event in nodes.bus(1).late if isinstance(event, MemberLeft)]
    for event in reversed(late):
        nodes.bus(1).receive(event)
    assert (ben.joined, cat.joined) == ({}, {})
    await nodes.sweep()
    assert nodes.states[1].hub.repair.gaps_read == 0


async def test_a_kick_during_a_join_is_not_undone_by_it(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    hub, room = nodes.states[1].hub, (await nodes.in_store("lobby"))[0]
    assert room is not None
    await hub.begin_join("lobby", ben)
    await ann.rooms.kick("lobby", "ben")
    nodes.bus(1).let_in()
    hub.complete_join(ben, room.position)  # as it was before
    assert "lobby" not in ben.joined
    assert ben.kinds() == []  # what it is told is the answer: it reads again
    with pytest.raises(NotAMember):
        await ben.say("lobby")


async def test_a_kick_during_a_failed_join_is_told(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    hub = nodes.states[1].hub
    await hub.begin_join("lobby", ben)
    await ann.say("lobby", "before")
    await ann.rooms.kick("lobby", "ben")
    await ann.say("lobby", "after")
    nodes.bus(1).let_in(3)
    hub.abort_join("lobby", ben)
    assert ben.kinds() == [("chat.message", 1), ("room.left", "ben")]
    assert ben.joined == {}


async def test_late_news_of_a_room_before_does_nothing_to_the_one_made_anew(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    await ann.say("lobby", "in the old one")
    await ann.rooms.kick("lobby", "ben")
    await ben.join("lobby")
    await remade(ann)
    await nodes.sweep()
    await until(lambda: ben.kinds()[-1] == ("resync", 0))
    await ben.join("lobby")
    ben.heard.clear()
    hub = nodes.states[1].hub
    resyncs, gaps = hub.repair.resyncs, hub.repair.gaps_read
    for _ in range(2):  # each of them is old, and so is its double
        for event in list(nodes.bus(1).late):
            nodes.bus(1).receive(event)
    nodes.bus(1).late.clear()
    offset = await ann.say("lobby", "in the new one")
    nodes.bus(1).let_in()
    await until(lambda: ben.at["lobby"][1] == offset)
    assert [kind for kind in ben.kinds() if kind[0] != "room.joined"] == [("chat.message", 1)]
    assert hub.repair.resyncs == resyncs
    assert hub.repair.gaps_read <= gaps + 2  # a message of the old room causes one question, and no flood of them


async def test_a_room_that_was_deleted_unnoticed_is_told_as_deleted_once(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    await ann.rooms.delete("lobby")
    await nodes.sweep()
    assert "lobby" not in ben.joined
    nodes.bus(1).let_in()
    assert [kind[0] for kind in ben.kinds()] == ["room.deleted"]
    assert ben.joined == {}
    assert nodes.states[1].hub.room_count == 0
    assert nodes.bus(1).rooms == set()


async def test_a_join_that_has_read_a_room_that_is_no_more_reads_again_and_removes_no_other(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    slow, hub = nodes.ear(1, "ben"), nodes.states[1].hub
    old, _ = await nodes.in_store("lobby")
    assert old is not None
    ben.go()
    await hub.begin_join("lobby", slow)
    await remade(ann)
    await ben.join("lobby")
    hub.complete_join(slow, old.position)
    assert ("lobby" in slow.joined, "lobby" in ben.joined) == (False, True)
    assert hub.repair.resyncs == 0


async def test_nobody_takes_a_room_for_the_one_that_has_just_been_found_to_be_no_more(nodes: Nodes) -> None:
    ann, ben = await lobby(nodes)
    slow, hub = nodes.ear(1, "ben"), nodes.states[1].hub
    old, _ = await nodes.in_store("lobby")
    assert old is not None
    await hub.begin_join("lobby", slow)
    await remade(ann)
    await nodes.sweep()
    assert "lobby" not in ben.joined
    hub.complete_join(slow, old.position)
    assert "lobby" not in slow.joined
