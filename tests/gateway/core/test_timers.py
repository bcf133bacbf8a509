"""Timers for many connections."""

import asyncio
import gc

import pytest

from gateway.core import faults
from gateway.core.timers import CHUNK, Timer, TimerWheel

TICK = 0.01


async def turns(called: list[str], count: int) -> None:
    async with asyncio.timeout(20):
        while len(called) < count:  # noqa: ASYNC110 - waiting for time to pass is what is tested
            await asyncio.sleep(TICK)


async def test_timers_call_back_in_their_order() -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []
    wheel.call_later(TICK * 3, lambda: called.append("third"))
    wheel.call_later(TICK, lambda: called.append("first"))
    wheel.call_later(-5, lambda: called.append("at the next tick"))
    await turns(called, 3)
    assert called[2] == "third"
    wheel.close()


async def test_a_cancelled_timer_does_not_call_and_cancelling_again_is_fine() -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []
    cancelled = wheel.call_later(TICK, lambda: called.append("cancelled"))
    last = wheel.call_later(TICK * 2, lambda: called.append("last"))
    cancelled.cancel()
    cancelled.cancel()
    await turns(called, 1)
    last.cancel()
    assert called == ["last"]
    wheel.close()


async def test_of_timers_that_are_cancelled_nothing_stays_on_the_wheel() -> None:
    wheel = TimerWheel()

    for _ in range(10):
        wheel.call_later(3600, lambda: None).cancel()
        wheel.call_later(3600, lambda: None).call_now()
    timers = [each for each in gc.get_objects() if type(each) is Timer]
    assert [timer for timer in timers if timer._wheel is wheel] == []
    wheel.close()


async def test_a_timer_that_is_called_early_is_called_once() -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []
    early = wheel.call_later(TICK, lambda: called.append("early"))
    wheel.call_later(TICK * 2, lambda: called.append("last"))
    early.call_now()
    early.call_now()
    assert called == ["early"]
    await turns(called, 2)
    assert called == ["early", "last"]
    wheel.close()


async def test_one_timer_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []
    before = faults.counters["timers"]

    def fail() -> None:
        raise RuntimeError("a timer's mistake")

    for number in range(3):
        wheel.call_later(TICK, fail if number == 1 else lambda: called.append("of the same tick"))
    wheel.call_later(TICK * 2, lambda: called.append("next"))
    await turns(called, 3)
    wheel.call_later(TICK, lambda: called.append("later"))
    await turns(called, 4)
    assert called == ["of the same tick", "of the same tick", "next", "later"]
    assert faults.counters["timers"] == before + 1
    assert "a timer's mistake" in caplog.text
    wheel.close()


async def test_a_timer_may_start_another_and_an_empty_wheel_starts_again() -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []

    def start_another() -> None:
        called.append("one")
        wheel.call_later(TICK, lambda: called.append("two"))

    wheel.call_later(TICK, start_another)
    await turns(called, 2)
    wheel.call_later(TICK, lambda: called.append("three"))
    await turns(called, 3)
    assert called == ["one", "two", "three"]
    wheel.close()


async def test_a_timer_that_another_of_its_turn_cancels_is_not_called() -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []
    timers: list[Timer] = []

    def cancel_all() -> None:
        called.append("one of five")
        for timer in timers:
            timer.cancel()

    timers += [wheel.call_later(TICK, cancel_all) for _ in range(5)]
    wheel.call_later(TICK * 2, lambda: called.append("next"))
    await turns(called, 2)
    assert called == ["one of five", "next"]
    wheel.close()


async def test_thousands_that_fall_due_at_once_let_others_have_their_turn() -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []
    for _ in range(4 * CHUNK + 1):
        wheel.call_later(TICK, lambda: called.append("due"))
    seen = 0
    async with asyncio.timeout(20):
        while len(called) < 4 * CHUNK + 1:
            await asyncio.sleep(0)
            assert len(called) - seen <= CHUNK
            seen = len(called)
    wheel.close()


async def test_what_is_still_to_be_called_is_forgotten_when_it_is_closed() -> None:
    wheel = TimerWheel(TICK)
    called: list[str] = []
    for _ in range(2 * CHUNK):
        wheel.call_later(TICK, lambda: called.append("due"))
    await turns(called, 1)
    wheel.close()
    before = len(called)
    await asyncio.sleep(TICK)
    assert len(called) == before
