"""Timers for many."""

import asyncio

import pytest

from gateway.wheel import Wheel

TICK = 0.01


async def turns(called: list[str], count: int) -> None:
    async with asyncio.timeout(5):
        while len(called) < count:  # noqa: ASYNC110 - waiting for time to pass is what is tested
            await asyncio.sleep(TICK)


async def test_timers_call_back_in_their_order() -> None:
    wheel = Wheel(TICK)
    called: list[str] = []
    wheel.after(TICK * 3, lambda: called.append("third"))
    wheel.after(TICK, lambda: called.append("first"))
    wheel.after(-5, lambda: called.append("at the next tick"))
    await turns(called, 3)
    assert called[2] == "third"
    wheel.close()


async def test_a_cancelled_timer_does_not_call_and_cancelling_again_is_fine() -> None:
    wheel = Wheel(TICK)
    called: list[str] = []
    cancelled = wheel.after(TICK, lambda: called.append("cancelled"))
    last = wheel.after(TICK * 2, lambda: called.append("last"))
    cancelled.cancel()
    cancelled.cancel()
    await turns(called, 1)
    last.cancel()
    assert called == ["last"]
    wheel.close()


async def test_one_timer_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    wheel = Wheel(TICK)
    called: list[str] = []

    def fail() -> None:
        raise RuntimeError("a timer's mistake")

    wheel.after(TICK, fail)
    wheel.after(TICK * 2, lambda: called.append("next"))
    await turns(called, 1)
    assert "a timer's mistake" in caplog.text
    wheel.close()


async def test_a_timer_may_start_another_and_an_empty_wheel_starts_again() -> None:
    wheel = Wheel(TICK)
    called: list[str] = []

    def start_another() -> None:
        called.append("one")
        wheel.after(TICK, lambda: called.append("two"))

    wheel.after(TICK, start_another)
    await turns(called, 2)
    wheel.after(TICK, lambda: called.append("three"))
    await turns(called, 3)
    assert called == ["one", "two", "three"]
    wheel.close()
