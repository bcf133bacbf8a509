"""Many questions share a statement, and none of them waits for an older answer."""

import asyncio

import pytest

from gateway.store.engine import StoreUnavailable
from gateway.store.grouped_reads import MAX_BATCH, GroupedReads
from tests.support.waiting import WAIT_SECONDS


class Store:
    """Answers with the length of each key, once it may, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, keys: list[str]) -> dict[str, int]:
        self.asked.append(keys)
        self.is_asked.set()
        await self.may_answer.wait()
        if self.error is not None and "bad" in keys:
            raise self.error
        return {key: len(key) for key in keys if key != "unknown"}


@pytest.fixture
async def store() -> Store:
    return Store()


async def answers(*questions: "asyncio.Task[int | None]") -> list[int | BaseException | None]:
    async with asyncio.timeout(WAIT_SECONDS):
        return await asyncio.gather(*questions, return_exceptions=True)


def ask(reads: GroupedReads[str, int], *keys: str) -> list["asyncio.Task[int | None]"]:
    return [asyncio.create_task(reads.get(key)) for key in keys]


async def test_questions_of_one_turn_share_a_statement(store: Store) -> None:
    reads = GroupedReads(store.read)
    store.may_answer.set()

    assert await answers(*ask(reads, "a", "bb", "unknown", "a")) == [1, 2, None, 1]
    assert store.asked == [["a", "bb", "unknown"]]


async def test_the_next_questions_gather_while_one_statement_is_on_its_way(store: Store) -> None:
    reads = GroupedReads(store.read)
    early = ask(reads, "a")
    await store.is_asked.wait()
    late = ask(reads, "a", "bb", "ccc")
    await asyncio.sleep(0)
    store.may_answer.set()

    assert await answers(*early, *late) == [1, 1, 2, 3]
    assert store.asked == [["a"], ["a", "bb", "ccc"]], "an answer must be newer than its question"


async def test_a_statement_has_a_limited_size(store: Store) -> None:
    reads = GroupedReads(store.read)
    store.may_answer.set()

    await answers(*ask(reads, *map(str, range(MAX_BATCH + 1))))
    assert [len(keys) for keys in store.asked] == [MAX_BATCH, 1]


async def test_a_store_that_does_not_answer_refuses_all_that_wait_and_serves_the_next(store: Store) -> None:
    reads = GroupedReads(store.read)
    store.error = StoreUnavailable("store")
    early = ask(reads, "bad")
    await store.is_asked.wait()
    late = ask(reads, "a")
    await asyncio.sleep(0)
    store.may_answer.set()

    assert [type(answer) for answer in await answers(*early, *late)] == [StoreUnavailable, StoreUnavailable]
    assert await answers(*ask(reads, "a")) == [1]


async def test_a_question_that_breaks_the_statement_stops_no_other(store: Store) -> None:
    reads = GroupedReads(store.read)
    store.error = ValueError("a character that the store cannot hold")
    store.may_answer.set()

    found = await answers(*ask(reads, "a", "bad", "bb"))
    assert (found[0], type(found[1]), found[2]) == (1, ValueError, 2)


async def test_a_caller_that_is_gone_disturbs_no_other(store: Store) -> None:
    reads = GroupedReads(store.read)
    gone, stays = ask(reads, "a", "a")
    await store.is_asked.wait()
    gone.cancel()
    store.may_answer.set()

    found = await answers(gone, stays)
    assert (type(found[0]), found[1]) == (asyncio.CancelledError, 1)
