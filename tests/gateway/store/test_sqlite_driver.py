"""SQLite's threads: a transaction has one for itself, and a slow one does not hold up the others."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.store import engine, rooms, users, writes
from gateway.store.engine import Database, StoreUnavailable
from gateway.store.message_pages import NEWEST
from gateway.store.prepared import Rows, Script, items_of
from gateway.store.rooms import RoomRow
from gateway.store.sqlite_driver import AT_ONCE_BYTES, READER_CACHE_KB, READERS
from gateway.store.tables import users as users_table
from tests.gateway.store.test_pages import say
from tests.support.users import add_users
from tests.support.waiting import WAIT_SECONDS


class Pause:
    """Work that begins, and then waits until it may go on."""

    def __init__(self, work: Callable[[Connection], object]) -> None:
        self._work = work
        self._begun = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self._work(connection)
        self._begun.set()
        assert self.may_go_on.wait(WAIT_SECONDS)

    async def begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, WAIT_SECONDS)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{tmp_path / 'test.db'}") as database:
        await database.upgrade()
        yield database


def add(name: str) -> Callable[[Connection], object]:
    return partial(users.add, name=name, password_hash="x", now=0)


async def names(database: Database) -> list[str]:
    return [user.name for user in await database.query(users.list_all)]


async def begin(database: Database, count: int) -> tuple[list[Pause], list["asyncio.Task[None]"]]:
    """Begin transactions that read and do not end by themselves."""
    pauses = [Pause(users.list_all) for _ in range(count)]
    tasks = [asyncio.create_task(database.query(pause)) for pause in pauses]
    for pause in pauses:
        await pause.begun()
    return pauses, tasks


async def end(pauses: list[Pause], tasks: list["asyncio.Task[None]"]) -> None:
    for pause in pauses:
        pause.may_go_on.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*tasks)


async def test_a_write_whose_task_is_cancelled_ends_whole_and_the_next_one_waits_for_it(sqlite: Database) -> None:
    slow = Pause(add("alice"))
    task = asyncio.create_task(sqlite.transact(slow))
    await slow.begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    following = asyncio.create_task(sqlite.transact(add("bob")))
    assert await names(sqlite) == []
    assert not following.done()
    slow.may_go_on.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await following
    assert await names(sqlite) == ["alice", "bob"]


async def test_a_write_that_is_cancelled_before_its_turn_does_nothing_and_blocks_nothing(sqlite: Database) -> None:
    slow = Pause(add("alice"))
    first = asyncio.create_task(sqlite.transact(slow))
    await slow.begun()
    waiting = asyncio.create_task(sqlite.transact(add("bob")))
    await asyncio.sleep(0)
    waiting.cancel()
    await end([slow], [first])
    await sqlite.transact(add("carol"))
    assert await names(sqlite) == ["alice", "carol"]


async def test_readers_keep_few_pages_and_the_writer_sqlites_own_number(sqlite: Database) -> None:
    def pages(connection: Connection) -> int:
        [[found]] = connection.exec_driver_sql("PRAGMA cache_size")
        return int(found)

    assert await sqlite.query(pages) == -READER_CACHE_KB
    assert await sqlite.transact(pages) == -2000


async def test_slow_reads_hold_up_neither_another_read_nor_a_write(sqlite: Database) -> None:
    pauses, tasks = await begin(sqlite, READERS - 1)
    async with asyncio.timeout(WAIT_SECONDS):
        await sqlite.transact(add("alice"))
        assert await names(sqlite) == ["alice"]
    await end(pauses, tasks)


async def test_a_read_that_finds_no_thread_in_time_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    async with Database(f"sqlite:///{tmp_path / 'test.db'}") as database:
        await database.upgrade()
        pauses, tasks = await begin(database, READERS)
        with pytest.raises(StoreUnavailable):
            await database.ping()
        assert caplog.messages == ["the store is not available: no answer within 0.05 seconds"]
        # What every connection needs is read in the event loop.
        assert await database.fetch(users.RIGHTS_BY_ID, items=items_of(["none"])) == []
        await end(pauses, tasks)
        await database.ping()


async def read_page(database: Database, room: RoomRow, most: int) -> int:
    """Read a page of messages, and return how many it has."""
    return len(await database.fetch_bounded(NEWEST, 10 * AT_ONCE_BYTES, room=room.id, most=most))


async def test_a_short_page_needs_no_thread_and_a_long_one_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    async with Database(f"sqlite:///{tmp_path / 'test.db'}") as database:
        await database.upgrade()
        [ann] = await database.transact(partial(add_users, names=["alice"]))
        room = await database.transact(partial(rooms.add, name="here", now=0))
        long = {"text": "x" * (AT_ONCE_BYTES // 2)}
        await database.transact(partial(say, room=room, sender=ann, contents=[long, long, {"text": "hi"}]))
        pauses, tasks = await begin(database, READERS)
        assert await read_page(database, room, 2) == 2
        with pytest.raises(StoreUnavailable):
            await read_page(database, room, 3)
        await end(pauses, tasks)
        assert await read_page(database, room, 3) == 3
        # A read that stopped half-way would keep the write-ahead log from being taken in.
        with sqlite3.connect(tmp_path / "test.db") as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        other.close()


async def test_closing_waits_for_the_transactions_that_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database = Database(url)
    await database.upgrade()
    pauses, tasks = await begin(database, 1)
    slow = Pause(add("alice"))
    tasks.append(asyncio.create_task(database.transact(slow)))
    await slow.begun()
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    assert not closing.done()
    await end([*pauses, slow], tasks)
    async with asyncio.timeout(WAIT_SECONDS):
        await closing
    assert not (tmp_path / "test.db-wal").exists()  # the last connection has taken it in
    async with Database(url) as again:
        assert await names(again) == ["alice"]


async def test_a_mistake_in_a_read_leaves_its_connection_as_it_was(sqlite: Database) -> None:
    def change_and_fail(connection: Connection) -> None:
        connection.execute(users_table.insert().values(id="1", name="x", password_hash="x", scopes="", disabled=False))

    for _ in range(READERS + 1):
        with pytest.raises(Exception, match="NOT NULL"):
            await sqlite.query(change_and_fail)
    await sqlite.transact(add("alice"))
    assert await names(sqlite) == ["alice"]


async def test_the_rows_of_many_items_are_those_that_a_plain_read_finds(sqlite: Database) -> None:
    titles = {"quotes": "\"'\\", "lines": "a\nb\tc\u2028", "letters": "äöü 😀", "empty": "", "untitled": None}
    for name, title in titles.items():
        await sqlite.transact(partial(rooms.add, name=name, title=title, private=title is None, now=2**53 + 1))
    wanted = {"items": items_of([*titles, "missing"])}

    def read() -> Script[Rows]:
        return (yield writes.ROOMS, wanted)

    found = await sqlite.run_script(read())
    assert {row["name"]: row["title"] for row in found} == titles
    assert {row["created_at"] for row in found} == {2**53 + 1}
    assert found == await sqlite.fetch(writes.ROOMS, **wanted)
