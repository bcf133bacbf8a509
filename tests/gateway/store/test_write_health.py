"""Whether the store accepts writes: found out with few writes, in limited time."""

import asyncio
from collections.abc import Awaitable

import pytest

from gateway.store import write_health
from gateway.store.write_health import WriteHealth
from tests.support.waiting import until


class Store:
    """Accepts a write, refuses it, or lets it wait, and counts."""

    def __init__(self) -> None:
        self.tries = 0
        self.fails = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.health = WriteHealth(self.write)

    async def write(self) -> None:
        self.tries += 1
        await self.goes_on.wait()
        self.health.record(made=not self.fails)
        if self.fails:
            raise OSError


async def all_of(*questions: Awaitable[bool]) -> set[bool]:
    return set(await asyncio.gather(*questions))


async def test_however_many_ask_there_is_one_write_a_second() -> None:
    store = Store()
    assert await all_of(*(store.health.check() for _ in range(100))) == {True}
    assert await store.health.check() is True
    assert store.tries == 1
    store.fails = True
    store.health.record(made=False)
    assert await all_of(*(store.health.check() for _ in range(100))) == {False}
    assert store.tries == 1  # what the last write came to is known


async def test_a_write_of_a_client_is_as_good_as_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.health.record(made=True)
    assert await store.health.check() is True
    assert store.tries == 0
    store.health.record(made=False)
    assert await store.health.check() is True  # one write has failed, and the next one has not
    assert store.tries == 1


async def test_a_store_that_does_not_answer_is_down_in_time_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_health, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(write_health, "FRESH_SECONDS", 0)
    store = Store()
    store.goes_on.clear()
    async with asyncio.timeout(20):
        for _ in range(3):
            assert await all_of(*(store.health.check() for _ in range(10))) == {False}
    assert store.tries == 1
    store.goes_on.set()
    await until(store.health.check)
    await store.health.close()


async def test_a_store_that_closes_waits_for_no_answer() -> None:
    store = Store()
    store.goes_on.clear()
    asking = asyncio.create_task(store.health.check())
    await until(lambda: store.tries)
    async with asyncio.timeout(20):
        await store.health.close()
        assert await asking is True  # nothing was found out
