"""Turns of the event loop: heavy work begins in pieces, and light work comes in between."""

import asyncio
import sys

import pytest

from gateway.core import faults, turns
from gateway.core.turns import AT_ONCE, CROWDED_SWITCH_SECONDS, MOST_BEFORE, Turns
from tests.support.waiting import until


class Office:
    """Turns, the messages of others, and the work that was done in order."""

    def __init__(self) -> None:
        self.messages = 0
        self.turns = Turns(lambda: self.messages)
        self.done: list[str] = []

    async def work(self, name: str) -> None:
        """Take a turn, and work."""
        await self.turns.take()
        self.done.append(name)

    def begin(self, *names: str) -> list[asyncio.Task[None]]:
        """Let so many ask for a turn at the same time."""
        return [asyncio.create_task(self.work(name)) for name in names]


async def done_in_each_turn(office: Office, work: list[asyncio.Task[None]]) -> list[int]:
    """Return how many pieces were done in each turn of the loop, until all are."""
    counts = []
    async with asyncio.timeout(10):
        while not all(task.done() for task in work):
            before = len(office.done)
            await asyncio.sleep(0)
            counts.append(len(office.done) - before)
    return counts


async def test_work_begins_in_the_order_in_which_it_came_a_few_pieces_in_each_turn() -> None:
    office = Office()
    names = [str(number) for number in range(3 * AT_ONCE)]
    counts = await done_in_each_turn(office, office.begin(*names))
    assert office.done == names
    assert max(counts) == AT_ONCE


async def test_one_piece_begins_in_each_turn_while_others_have_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 60)
    office = Office()
    office.messages += 1
    work = office.begin(*"abcdef")
    counts = await done_in_each_turn(office, work)
    assert office.done == list("abcdef")
    assert max(counts) == 1


async def test_work_that_comes_alone_begins_at_once() -> None:
    office = Office()
    office.messages += 1
    assert office.turns.begin()
    assert not office.turns.begin()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = office.work("alone")
    with pytest.raises(StopIteration):
        waiting.send(None)
    assert office.done == ["alone"]


async def test_threads_get_the_interpreter_sooner_while_work_waits() -> None:
    office = Office()
    own = sys.getswitchinterval()
    office.messages += 1
    seen: list[float] = []
    work = office.begin("a", "b", "c")
    office.turns.call(lambda: seen.append(sys.getswitchinterval()))
    await asyncio.wait_for(asyncio.gather(*work), 10)
    await until(lambda: seen)
    assert seen == [pytest.approx(CROWDED_SWITCH_SECONDS)]
    await until(lambda: sys.getswitchinterval() == pytest.approx(own))


async def test_joins_pass_a_handshake_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "AT_ONCE", 1)
    office = Office()
    names = [f"join {number}" for number in range(2 * MOST_BEFORE)]
    work = office.begin("first", *names)
    await asyncio.sleep(0)
    office.turns.call(lambda: office.done.append("handshake"))
    assert office.turns.waiting == len(names)
    await asyncio.wait_for(asyncio.gather(*work), 10)
    assert office.done.index("handshake") <= MOST_BEFORE + 2
    assert [name for name in office.done if name != "handshake"] == ["first", *names]


@pytest.mark.usefixtures("fresh_faults")
async def test_a_client_that_is_gone_and_a_fault_keep_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("no handshake")

    monkeypatch.setattr(turns, "AT_ONCE", 1)
    office = Office()
    work = office.begin(*"abcd")
    await asyncio.sleep(0)
    office.turns.call(fail)
    office.turns.call(lambda: office.done.append("handshake"))
    work[2].cancel()
    await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), 10)
    await until(lambda: "handshake" in office.done)
    assert office.done == ["a", "b", "d", "handshake"]
    assert faults.counters == {"turns": 1}
    assert office.turns.waiting == 0
