"""Threads for SQLite: each runs one piece of work at a time, to its end, also if its caller is gone."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Engine, create_engine

from gateway.store.threads import Threads
from tests.support.waiting import until


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = create_engine("sqlite://")
    yield engine
    engine.dispose()


async def test_work_returns_its_result_or_raises_its_error_in_a_thread_of_its_name(engine: Engine) -> None:
    threads = Threads("reader", 2, 5)
    assert await threads.run(lambda: threading.current_thread().name) == "reader-0"
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.run(lambda: threading.current_thread().name) == "reader-0"  # one is enough so far
    await threads.close(engine)


async def test_as_many_run_at_once_as_there_are_threads(engine: Engine) -> None:
    threads = Threads("reader", 3, 5)
    together = threading.Barrier(3, timeout=5)

    def meet() -> str:
        together.wait()
        return threading.current_thread().name

    names = await asyncio.gather(*(threads.run(meet) for _ in range(6)))
    assert sorted(names) == sorted(2 * ["reader-0", "reader-1", "reader-2"])
    await threads.close(engine)


async def test_work_that_no_caller_awaits_any_more_ends_before_the_next_begins(engine: Engine) -> None:
    threads = Threads("writer", 1, 5)
    begun, may_end, done = threading.Event(), threading.Event(), list[str]()

    def long_work() -> None:
        begun.set()
        may_end.wait(5)
        done.append("first")

    first = asyncio.create_task(threads.run(long_work))
    await until(begun.is_set)
    first.cancel()
    second = asyncio.create_task(threads.run(lambda: done.append("second")))
    await asyncio.sleep(0)
    assert done == []
    may_end.set()
    await second
    assert done == ["first", "second"]
    await threads.close(engine)


async def test_a_wait_for_a_thread_has_a_limit_and_the_end_waits_for_the_work(engine: Engine) -> None:
    threads = Threads("short-lived", 1, 0.05)
    may_end, done = threading.Event(), list[str]()

    def long_work() -> None:
        may_end.wait(5)
        done.append("first")

    first = asyncio.create_task(threads.run(long_work))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await threads.run(lambda: done.append("never"))
    closing = asyncio.create_task(threads.close(engine))
    may_end.set()
    await asyncio.gather(first, closing)
    assert done == ["first"]
    assert [thread for thread in threading.enumerate() if thread.name.startswith("short-lived-")] == []


async def test_a_system_without_a_further_thread_fails_one_piece_of_work_and_not_the_next(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads("reader", 1, 5)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="can't start"):
            await threads.run(lambda: None)
    assert await threads.run(lambda: "done") == "done"
    await threads.close(engine)


async def test_a_thread_without_work_keeps_nothing_of_the_last(engine: Engine) -> None:
    class Result:
        pass

    threads = Threads("reader", 1, 5)
    result = weakref.ref(await threads.run(Result))
    await until(lambda: result() is None)
    await threads.close(engine)
