"""The soak runs at a tiny size, and its clients notice what is lost and what comes twice."""

from typing import Any

import pytest

from benchmarks.story import Said
from proofs.clients import ODD_JOBS, Connection, Member, Position
from proofs.soak import FAULTS, Sizes, _of_clients, soak
from tests.proofs.examples import crowd_of

EVENT = {"room": "hall", "epoch": "e1"}
SAID = Said("ann", "ann-1", "Hello", 1)


@pytest.fixture
def member() -> Member:
    member = crowd_of("ann").members[0]
    member.known["hall"] = Position("e1", 7)
    return member


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
    tally = (some := crowd_of("ann")).tally
    some.store("hall", 1, SAID, repeated=False)
    some.store("hall", 1, SAID, repeated=True)
    assert tally.counts["doubled"] == 0
    some.store("hall", 1, SAID, repeated=False)
    assert tally.counts["doubled"] == 1


class Answering(Connection):
    """A connection whose requests all get one answer."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        super().__init__(lambda _: None, lambda _: None, patience=0.01)
        self._answer = answer

    async def ask(self, type: str, **data: Any) -> dict[str, Any]:
        if self._answer is None:
            raise TimeoutError
        return self._answer


BUSY = {"type": "error", "retryable": True, "name": "busy", "retry_after_ms": 0}


def faults(member: Member) -> dict[str, int]:
    return {kind: count for kind, count in member.crowd.tally.counts.items() if count}


@pytest.mark.parametrize("job", ODD_JOBS)
@pytest.mark.parametrize("answer", [BUSY, None])
async def test_an_odd_job_that_fails_is_a_fault(member: Member, job: str, answer: dict[str, Any] | None) -> None:
    member.connection = Answering(answer)
    await member.do_odd_job(job, "hall")
    assert faults(member) == {"failed odd jobs": 1}


async def test_a_message_that_is_never_answered_is_a_fault(member: Member) -> None:
    member.connection = Answering(None)
    await member._send("ann-1", "hall", "Hello")
    assert faults(member) == {"late answers": 1}


async def test_a_message_that_is_refused_for_a_while_is_a_fault(member: Member) -> None:
    member.connection = Answering(BUSY)
    await member._send("ann-1", "hall", "Hello")
    assert faults(member) == {"asked to try again": 1}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_log_in_that_is_refused_is_a_fault(member: Member, status: int) -> None:
    with pytest.raises(ConnectionError):
        member._expect(status, b"")
    assert sum(faults(member).values()) == 1


@pytest.mark.parametrize("kind", [kind for kinds in FAULTS.values() for kind in kinds])
def test_no_fault_of_the_soak_is_forgiven(kind: str) -> None:
    counts = {"acknowledged": 200, "churned": 20, "heard": 2000, "rooms made and deleted": 2}
    assert [bar.what for bar in _of_clients(counts, Sizes(), 1) if not bar.passed] == []
    assert len([bar for bar in _of_clients(counts | {kind: 1}, Sizes(), 1) if not bar.passed]) == 1


def test_too_few_rooms_that_are_made_and_deleted_miss_a_bar() -> None:
    counts = {"acknowledged": 200, "churned": 20, "heard": 2000}
    assert [bar.what for bar in _of_clients(counts, Sizes(), 1) if not bar.passed] == ["rooms made and deleted"]


@pytest.mark.server
async def test_a_short_soak_has_bars_for_all_that_must_not_grow() -> None:
    lines: list[str] = []
    bars = await soak(4, Sizes(clients=20, churn=10, messages=40, odd_jobs=20), lines.append)
    found = {bar.what: bar for bar in bars}
    assert found["load of 0 min"].found.startswith(tuple("123456789")), lines
    for what in ("deliveries and messages lost", "deliveries and messages doubled", "messages and requests refused"):
        assert found[what].passed, lines
    assert found["odd jobs that failed"].passed, lines
    assert found["rooms made and deleted"].found != "0", lines
    assert any("compared with the store" in line for line in lines), lines
    assert {what.partition(":")[0] for what in found} >= {
        "memory, KB, with garbage",
        "descriptors",
        "asyncio tasks",
        "timers",
        "its log (WAL), KB",
        "rows of each of 14 tables",
        "lines of the log that report a fault",
    }
