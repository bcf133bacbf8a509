"""`python -m benchmarks.cluster`: users talk while parts fail, and it counts what they received."""

import pytest

from benchmarks.cluster import Nodes, Story, Talker, cluster
from benchmarks.rig import Person

pytestmark = pytest.mark.server


async def test_a_small_conversation_comes_through_a_bus_a_store_and_a_node_that_fail() -> None:
    reports: list[str] = []
    story = await cluster(
        clients=20, nodes=3, room_count=5, seconds=3, pause=0.3, windows=(0, 1, 3), report=reports.append
    )
    assert story.wrong == []
    assert [line.split(",")[0] for line in reports] == [
        *("the bus is killed", "the bus is back", "the store is killed", "the store is back", "node 2 is killed")
    ]
    assert story.counts["acknowledged"] == story.counts["stored"] > 20
    assert story.counts["lost connections"] > 0
    for name in ("lost", "not heard", "views that differ", "holes", "doubled or out of order", "never answered"):
        assert story.counts[name] == 0, name


def test_it_notices_what_is_heard_twice_and_what_is_not_heard() -> None:
    story = Story(acknowledged={"lobby": set()})
    talker = Talker(Person("alice"), ["lobby"], Nodes([]), story, 1)
    talker.joined({"room": "lobby", "epoch": "e", "offset": 0, "members": 1, "messages": []})
    for offset in (1, 2, 2, 4):
        talker.hear({"room": "lobby", "offset": offset, "text": "0.0 alice-1"})
    assert story.counts["doubled or out of order"] == 1
    assert story.counts["holes"] == 1
    assert len(story.wrong) == 2
