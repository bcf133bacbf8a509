"""Work that is done again and again for as long as a context lasts."""

import asyncio
import math

import pytest

from gateway.core import faults
from gateway.core.periodic import Periodic
from handlers.errors import Unavailable
from tests.support.waiting import until


class Work:
    """Counts its turns, and ends each as the test says."""

    def __init__(self, *outcomes: BaseException) -> None:
        self.turns = 0
        self._outcomes = list(outcomes)

    async def __call__(self) -> None:
        self.turns += 1
        if self._outcomes:
            raise self._outcomes.pop(0)


async def test_it_is_done_again_after_each_pause_until_the_context_is_left() -> None:
    work = Work()
    async with Periodic("test", 0, work):
        assert work.turns == 0
        await until(lambda: work.turns >= 3)
    turns = work.turns
    await asyncio.sleep(0)
    assert work.turns == turns


async def test_at_once_means_before_the_first_pause() -> None:
    work = Work()
    async with Periodic("test", math.inf, work, at_once=True):
        await until(lambda: work.turns == 1)


async def test_without_a_pause_of_its_own_it_waits_until_it_is_woken() -> None:
    work = Work()
    async with Periodic("test", None, work) as periodic:
        assert work.turns == 0
        periodic.wake()
        await until(lambda: work.turns == 1)
        periodic.wake()
        await until(lambda: work.turns == 2)


async def test_a_wake_before_the_start_or_during_a_turn_brings_one_turn_more() -> None:
    work = Work()

    async def wake_once() -> None:
        await work()
        if work.turns == 1:
            periodic.wake()
            periodic.wake()

    periodic = Periodic("test", None, wake_once)
    periodic.wake()
    async with periodic:
        await until(lambda: work.turns == 2)


async def test_a_pause_may_depend_on_how_the_last_turn_went() -> None:
    work = Work(Unavailable("store"))
    pauses: list[int] = []

    def pause() -> float | None:
        pauses.append(work.turns)
        return 0 if work.turns < 2 else None

    async with Periodic("test", pause, work):
        await until(lambda: pauses == [0, 1, 2])


@pytest.mark.usefixtures("fresh_faults")
async def test_a_fault_is_counted_and_the_next_turn_comes(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(RuntimeError("boom"))
    async with Periodic("test", 0, work):
        await until(lambda: work.turns >= 2)
    assert faults.counters["test"] == 1
    assert "boom" in caplog.text


@pytest.mark.usefixtures("fresh_faults")
async def test_what_is_expected_ends_a_turn_and_is_no_fault() -> None:
    work = Work(Unavailable("store"), LookupError())
    async with Periodic("test", 0, work, expected=(Unavailable, LookupError)):
        await until(lambda: work.turns >= 3)
    assert not faults.counters


async def test_the_end_does_not_wait_for_a_turn() -> None:
    begun = asyncio.Event()
    ended: list[str] = []

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("here")

    async with asyncio.timeout(20):
        async with Periodic("test", None, hang, at_once=True):
            await begun.wait()
    assert ended == ["here"]
