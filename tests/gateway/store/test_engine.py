"""The database: durable, migrated, consistent, and unavailable in words. On both stores, but for what only one has."""

import asyncio
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from gateway.core.start_error import StartError
from gateway.store import users
from gateway.store.engine import LINES_A_MINUTE, Database, StoreUnavailable
from gateway.store.failures import NameTaken
from tests.support.waiting import WAIT_SECONDS


async def add(database: Database, name: str) -> None:
    await database.transact(partial(users.add, name=name, password_hash="x", now=0))


async def names(database: Database) -> list[str]:
    return [user.name for user in await database.query(users.list_all)]


def start_on(store_url: str, at_once: Barrier) -> None:
    """A process's work with the store at its start, once all processes are ready."""

    async def start() -> None:
        database = Database(store_url)
        at_once.wait(WAIT_SECONDS)
        await database.upgrade()
        await database.ping()
        await database.close()

    asyncio.run(start())


def test_processes_that_start_at_once_all_find_the_tables(empty_store_url: str) -> None:
    # A process that imports this module once and is then forked: the tests' own process has threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "gateway.store.revisions"])
    at_once = context.Barrier(4)
    processes = [context.Process(target=start_on, args=(empty_store_url, at_once), daemon=True) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT_SECONDS)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]


async def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def fail(connection: Connection) -> None:
        users.add(connection, name="alice", password_hash="x", now=0)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.transact(fail)
    assert await names(database) == []


async def test_what_a_reader_changes_is_lost(database: Database) -> None:
    await database.query(partial(users.add, name="alice", password_hash="x", now=0))
    assert await names(database) == []


async def test_a_reader_sees_one_state_whatever_others_write_meanwhile(store_url: str) -> None:
    async def add_elsewhere(name: str) -> None:
        async with Database(store_url) as other:
            await add(other, name)

    def look_twice(connection: Connection) -> list[list[str]]:
        before = [user.name for user in users.list_all(connection)]
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, add_elsewhere("bob")).result(WAIT_SECONDS)
        return [before, [user.name for user in users.list_all(connection)]]

    async with Database(store_url) as database:
        await database.upgrade()
        await add(database, "alice")
        assert await database.query(look_twice) == [["alice"], ["alice"]]
        assert await names(database) == ["alice", "bob"]


async def test_more_readers_and_writers_than_connections_are_all_served(database: Database) -> None:
    async with asyncio.timeout(20):
        await asyncio.gather(*(add(database, f"user-{number}") for number in range(40)))
        await asyncio.gather(*(database.ping() for _ in range(100)))
    assert len(await names(database)) == 40


async def test_what_is_taken_is_a_conflict_and_no_failure_of_the_store(database: Database) -> None:
    await add(database, "alice")
    with pytest.raises(NameTaken):
        await add(database, "alice")


async def test_a_wrong_statement_is_our_mistake_and_not_called_unavailable(database: Database, store: str) -> None:
    wrong = {"sqlite": "INSERT INTO users (id) VALUES ('a')", "postgresql": "SELECT * FROM nowhere"}
    with pytest.raises(DBAPIError):
        await database.transact(lambda connection: connection.execute(text(wrong[store])))


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"], ids=["a NUL", "half a character"])
async def test_a_text_that_postgresql_does_not_take_is_our_mistake_too(postgres: str, name: str) -> None:
    database = Database(postgres)
    question = text("SELECT CAST(:name AS TEXT)").bindparams(name=name)
    with pytest.raises(DBAPIError):
        await database.query(lambda connection: connection.execute(question))
    await database.close()


async def test_a_commit_to_sqlite_survives_a_power_cut(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")

    def pragmas(connection: Connection) -> dict[str, Any]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names}

    assert await database.transact(pragmas) == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}  # 2 is FULL
    await database.close()


@pytest.mark.server
async def test_the_same_reason_is_logged_a_few_times_a_minute_and_counted_after_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database("postgresql://gateway@127.0.0.1:1/gateway")
    for _ in range(30):
        with pytest.raises(StoreUnavailable):
            await database.ping()
    await database.close()
    assert len(caplog.messages) == LINES_A_MINUTE


async def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'test.db'}")
    with pytest.raises(StartError, match=r"there is no folder .*/missing; make it, or name another"):
        await database.upgrade()
    await database.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://gateway@127.0.0.1:1/gateway",  # no server listens
        "postgresql://gateway@host.invalid/gateway",
        "postgresql://{server}/no_such_database",
        "postgresql://{server}/postgres?options=-c%20no_such_setting%3D1",
    ],
)
async def test_a_postgresql_that_does_not_let_us_in_is_unavailable_in_words(
    url: str, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = postgres.removeprefix("postgresql://").rpartition("/")[0]
    database = Database(url.format(server=server))
    with pytest.raises(StoreUnavailable):
        await database.upgrade()
    assert caplog.messages[-1].startswith("the store is not available: ")
    await database.close()


def test_what_is_no_url_of_a_database_is_refused_without_showing_it() -> None:
    with pytest.raises(StartError, match="percent-encoded") as refused:
        Database("postgresql://gateway:pass@word@host:port/name")
    assert "pass@word" not in str(refused.value)
