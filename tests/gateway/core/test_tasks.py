"""Stopping tasks."""

import asyncio
from contextlib import suppress

import pytest

from gateway.core.tasks import AGAIN_SECONDS, cancel_and_wait, cancel_within


async def stubborn(cancellations: int) -> None:
    """Lose so many cancellations."""
    for _ in range(cancellations):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
    await asyncio.sleep(60)


async def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    tasks = [asyncio.create_task(stubborn(count)) for count in range(3)]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await cancel_and_wait(*tasks)
    assert all(task.cancelled() for task in tasks)


async def test_whoever_is_cancelled_while_it_ends_tasks_leaves_none_running() -> None:
    task = asyncio.create_task(stubborn(2))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(cancel_and_wait(task))
    await asyncio.sleep(AGAIN_SECONDS / 2)
    assert not task.done()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await stopping
    assert task.cancelled()


async def test_how_tasks_ended_is_nobodys_business_any_more() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await cancel_and_wait(task)
    await cancel_and_wait()


async def test_a_task_that_swallows_every_cancellation_is_stopped_by_force() -> None:
    steps: list[str] = []

    async def swallow() -> None:
        try:
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
        finally:
            steps.append("cleaned up")

    tasks = [asyncio.create_task(swallow()), asyncio.create_task(stubborn(1)), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        assert await cancel_within(0.5, *tasks) == {tasks[0]}
        await asyncio.wait(tasks)
    assert steps == ["cleaned up"]
    assert not await cancel_within(0.5, *tasks)
    assert not await cancel_within(0.5)


async def test_a_task_may_clean_up_after_its_one_cancellation() -> None:
    steps: list[str] = []

    async def tidy() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3 * AGAIN_SECONDS)
            steps.append("tidied")

    task = asyncio.create_task(tidy())
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        assert not await cancel_within(20, task)
    assert steps == ["tidied"]


async def test_a_caller_that_is_cancelled_stops_the_tasks_at_once() -> None:
    task = asyncio.create_task(stubborn(1_000_000))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(cancel_within(60, task))
    await asyncio.sleep(AGAIN_SECONDS / 2)
    assert not task.done()
    stopping.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await stopping
        await asyncio.wait([task])
