"""The soak runs at a tiny size, and its clients notice what is lost and what comes twice."""

from typing import Any

import pytest

from benchmarks.story import Said
from proofs.clients import Crowd, Member, Position
from proofs.soak import Sizes, soak

EVENT = {"room": "hall", "epoch": "e1"}
SAID = Said("ann", "ann-1", "Hello", 1)


@pytest.fixture
def member() -> Member:
    member = crowd().members[0]
    member.known["hall"] = Position("e1", 7)
    return member


def crowd(**more: Any) -> Crowd:
    members = [["ann", "token", ["hall"]]]
    return Crowd(
        {
            "port": 1,
            "password": "",
            "seed": 1,
            "rates": {},
            "restarts": False,
            "members": members,
            "url": None,
            "kept": None,
        }
        | more
    )


def hear(member: Member, changed: int, type: str = "chat.message") -> dict[str, int]:
    member._hear({"type": type, "data": EVENT | {"changed": changed}})
    counts = member.crowd.tally.counts
    return {name: counts[name] for name in ("lost", "doubled") if counts[name]}


def test_the_next_change_is_neither_lost_nor_doubled(member: Member) -> None:
    assert hear(member, 8) == {}
    assert hear(member, 9, "chat.edited") == {}
    assert member.known["hall"].offset == 9


def test_a_gap_is_a_loss(member: Member) -> None:
    assert hear(member, 9) == {"lost": 1}


def test_a_change_that_comes_twice_is_doubled(member: Member) -> None:
    assert hear(member, 7) == {"doubled": 1}


def test_a_room_that_must_be_joined_anew_is_a_loss(member: Member) -> None:
    assert hear(member, 8, "resync") == {"lost": 1}


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ({"recovered": True, "events": [{"type": "chat.message", "data": EVENT | {"changed": 8}}], "offset": 8}, 0),
        ({"recovered": True, "events": [], "offset": 8}, 1),
        ({"recovered": False, "reason": "too_old", "offset": 7}, 1),
    ],
)
def test_a_resume_must_bring_what_was_missed(member: Member, answer: dict[str, Any], lost: int) -> None:
    member._take_rooms({"rooms": [{"room": "hall", "epoch": "e1"} | answer]})
    assert member.crowd.tally.counts["lost"] == lost


def test_an_acknowledged_message_that_is_not_in_the_log_is_lost(member: Member) -> None:
    for offset in range(1, 9):
        member.crowd.store("hall", offset, SAID, repeated=False)
    member.crowd._compare(member, "hall")
    assert member.crowd.tally.counts["lost"] == 1


def test_two_acknowledgements_of_one_offset_are_doubled_unless_one_is_a_repeat() -> None:
    tally = (some := crowd()).tally
    some.store("hall", 1, SAID, repeated=False)
    some.store("hall", 1, SAID, repeated=True)
    assert tally.counts["doubled"] == 0
    some.store("hall", 1, SAID, repeated=False)
    assert tally.counts["doubled"] == 1


@pytest.mark.server
async def test_a_short_soak_has_bars_for_all_that_must_not_grow() -> None:
    lines: list[str] = []
    bars = await soak(4, Sizes(clients=20, churn=10, messages=40, odd_jobs=20), lines.append)
    found = {bar.what: bar for bar in bars}
    assert found["load of 0 min"].found.startswith(tuple("123456789")), lines
    for what in ("deliveries and messages lost", "deliveries and messages doubled", "messages and requests refused"):
        assert found[what].passed, lines
    assert {what.partition(":")[0] for what in found} >= {
        "memory, KB",
        "descriptors",
        "asyncio tasks",
        "timers",
        "its log (WAL), KB",
        "rows of each of 14 tables",
        "lines of the log that report a fault",
    }
