"""The database: its engine, transactions that read or write, and the upgrade of its tables.

If the answer to a commit is lost, the commit may have been made or not. It is reported as `StoreUnavailable`, like a
failed one. A client that must know sends the message again with the same `client_id`.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Literal, Self, TypeVar

import aiosqlite
from sqlalchemy import Connection, create_engine, event, make_url, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from gateway.config.database_url import SQLITE
from gateway.core.folding import FoldedLog
from gateway.store import tables, versions
from gateway.store.drivers import PostgresqlDriver, ScriptRunner, SqliteReader, SqliteWriter, StatementReader
from gateway.store.failures import FAILURES, explain, is_conflict, is_mistake
from gateway.store.open_files import OpenFiles
from gateway.store.postgresql import Postgresql
from gateway.store.prepared import Rows, Script, Statement
from gateway.store.sqlite_file import SqliteFile
from gateway.store.write_health import WriteHealth
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""Seconds for a lock of SQLite, or for a whole transaction of PostgreSQL. After that the store is unavailable."""

LINES_A_MINUTE = 10
"""How often the log gets the same reason why the store is unavailable."""

T = TypeVar("T")

Synchronous = Literal["FULL", "NORMAL"]

_OPTIONS: dict[str, Any] = {
    "hide_parameters": True,  # parameters are messages of users, and errors are logged
}


class StoreUnavailable(Unavailable):
    """The database has failed, for a reason that may pass."""


class Database:
    """Transactions on the store. A failure of the database itself becomes `StoreUnavailable`."""

    def __init__(self, url: str, *, synchronous: Synchronous = "FULL") -> None:
        """Prepare the database at `url`, which begins with sqlite:/// or postgresql://.

        `synchronous` is SQLite's: FULL syncs every commit. Raise `StartError` for a wrong URL, without quoting it.
        """
        self._postgresql: Postgresql | None = None
        self._writer: SqliteWriter | None = None
        self._file: SqliteFile | None = None
        self._open_files: OpenFiles | None = None
        self._engine: AsyncEngine
        self._failures = FAILURES
        self._reader: StatementReader
        self._script_runner: ScriptRunner
        if SQLITE.match(url):
            self._use_sqlite(url, synchronous)
        else:
            self._use_postgresql(url)
        self._writing = self._engine.execution_options(writes=True)
        # SQLite allows one writer at a time. Waiting here costs nothing; SQLite itself would wait in a loop of sleeps.
        self._turn = asyncio.Lock()
        self.health = WriteHealth(self._probe)
        self._log = FoldedLog(logger, logging.ERROR, same=LINES_A_MINUTE)

    def _use_sqlite(self, url: str, synchronous: Synchronous) -> None:
        self._file = SqliteFile(url)
        self._open_files = OpenFiles(self._file.path)
        self._reading = self._engine = _sqlite_engine(url, synchronous, self._open_files)
        self._script_runner = self._writer = _sqlite_writer(url, synchronous, self._open_files)
        self._reader = SqliteReader(str(self._file.path), self._writer)

    def _use_postgresql(self, url: str) -> None:
        self._postgresql = Postgresql(url, BUSY_SECONDS)
        self._failures += self._postgresql.errors
        self._engine = self._postgresql.engine(**_OPTIONS)
        # In SQLite, every transaction reads one state anyway.
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._script_runner = self._reader = PostgresqlDriver(self._engine, self._postgresql)

    async def __aenter__(self) -> Self:
        """Do nothing: connections open when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that reads one state of the store. Its changes are lost."""
        async with self._available(), self._limit(), self._reading.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is durable after this context. An exception undoes it."""
        async with self._available(writes=True), self._limit(), self._my_turn(), self._writing.connect() as connection:
            if self._postgresql is not None:
                await self._postgresql.for_writing(connection)
            async with connection.begin():
                yield connection

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that writes, with as few trips between threads as the driver allows."""
        if self._writer is None:
            async with self.write() as connection:
                return await connection.run_sync(work)
        async with self._available(writes=True), self._my_turn():
            return await self._writer.do(work)

    async def query(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that reads."""
        async with self.read() as connection:
            return await connection.run_sync(work)

    async def run_script(self, script: Script[T]) -> T:
        """Run a script of prepared statements in a transaction that writes, directly on the driver."""
        async with self._available(writes=True), self._limit(), self._my_turn():
            return await self._script_runner.run_script(script)

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        """Run one short statement that reads, directly on the driver: for what every connection needs.

        With SQLite, this runs at once in the event loop. A row by its key takes a tenth of the time of a thread switch.
        """
        async with self._available(), self._limit():
            return await self._reader.fetch(statement, values)

    async def upgrade(self) -> None:
        """Upgrade the tables to the newest version, without a time limit, or raise `StartError` if they are foreign."""
        async with _migrating():
            if self._file is not None:
                await asyncio.to_thread(self._file.open)
            async with self._available(), self._my_turn(), self._writing.begin() as connection:
                await connection.run_sync(versions.upgrade)
        if self._writer is not None:
            # Stays open from now on, so that closing another connection does not remove the write-ahead log.
            await self.transact(_do_nothing)

    async def transact_unbounded(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that writes, without a time limit, for example to change all rows."""
        async with self._available(), self._my_turn(), self._writing.begin() as connection:
            done: T = await connection.run_sync(work)
            return done

    async def ping(self) -> None:
        """Check that the store answers, or raise `StoreUnavailable`."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self.health.close()
        await self._engine.dispose()
        self._reader.close()
        if self._writer is not None:
            await self._writer.close()
        if self._file is not None:
            self._file.close()

    def _limit(self) -> AbstractAsyncContextManager[object]:
        # A server that hangs, or is unreachable, never answers. SQLite has its own limit.
        return nullcontext() if self._postgresql is None else asyncio.timeout(BUSY_SECONDS)

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        if self._writer is None:
            yield
            return
        # Without this limit, each of many writers would wait for all before it, and then find the file locked.
        async with asyncio.timeout(BUSY_SECONDS):
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _available(self, *, writes: bool = False) -> AsyncIterator[None]:
        try:
            yield
        except self._failures as error:
            if is_mistake(error):
                raise
            self._note_failure(error, writes=writes)
            # The log has the reason. The driver's own words may contain the name of the database user.
            raise StoreUnavailable("store") from None
        if writes:
            self._note_write()

    def _note_write(self) -> None:
        if self._postgresql is not None and not self.health.takes_writes:
            # Other connections may still lead to the server that refused.
            self._postgresql.renew(at_once=True)
        self.health.record(made=True)

    def _note_failure(self, error: Exception, *, writes: bool) -> None:
        reason = explain(error, BUSY_SECONDS)
        if self._postgresql is not None:
            reason = self._postgresql.redacted(reason)
        # While the store is unavailable, every message of every client fails.
        self._log.log("the store is not available: %s", reason)
        if is_conflict(error):
            return
        if writes:
            self.health.record(made=False)
        if self._postgresql is not None:
            self._postgresql.renew(after_write=writes)

    async def _probe(self) -> None:
        await self.transact(self._write_something)

    def _write_something(self, connection: Connection) -> None:
        if self._open_files is not None:
            self._open_files.check_space()
        connection.execute(_CHANGE_NOTHING)


@asynccontextmanager
async def _migrating() -> AsyncIterator[None]:
    while not _MIGRATING.acquire(blocking=False):  # noqa: ASYNC110 - another event loop may hold it
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        _MIGRATING.release()


_MIGRATING = threading.Lock()
"""Alembic keeps its state in globals, so a process upgrades one database at a time."""


_CHANGE_NOTHING = update(tables.versions).values(version_num=tables.versions.c.version_num)
"""An ordinary write, to the disk, that changes nothing."""


def _do_nothing(_connection: Connection) -> None:
    """Only open and close a transaction."""


def _sqlite_writer(url: str, synchronous: Synchronous, files: OpenFiles) -> SqliteWriter:
    engine = create_engine(make_url(url).set(drivername="sqlite+pysqlite"), poolclass=StaticPool, **_OPTIONS)
    event.listen(engine, "connect", partial(_set_up_sqlite, synchronous))
    event.listen(engine, "connect", partial(_remember_files, files))
    event.listen(engine, "begin", partial(_begin_sqlite, files))
    return SqliteWriter(engine.execution_options(writes=True), files)


def _sqlite_engine(url: str, synchronous: Synchronous, files: OpenFiles) -> AsyncEngine:
    engine = create_async_engine(
        make_url(url).set(drivername="sqlite+aiosqlite"),
        connect_args={"async_creator_fn": _open_sqlite},
        **_OPTIONS,
    )
    event.listen(engine.sync_engine, "connect", partial(_set_up_sqlite, synchronous))
    event.listen(engine.sync_engine, "begin", partial(_begin_sqlite, files))
    return engine


async def _open_sqlite(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    opening = aiosqlite.connect(*arguments, **options)
    opening._thread.daemon = True  # like SQLAlchemy: a forgotten connection must not keep the process alive
    try:
        return await opening
    except Exception:
        # Otherwise the thread reports its end to an event loop that the failing command may have closed.
        await asyncio.to_thread(opening._thread.join)
        raise


def _set_up_sqlite(synchronous: Synchronous, connection: Any, _record: object) -> None:
    # The driver opens no transactions of its own: `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    _use_wal(cursor)
    # FULL syncs at every commit, so that acknowledged messages survive a power failure. With NORMAL they survive only
    # the end of the process.
    cursor.execute(f"PRAGMA synchronous = {synchronous}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Switch to the write-ahead log, so that readers and the writer do not wait for each other.

    The file remembers this mode. If several connections set it first at the same time, SQLite fails at once, despite
    the timeout.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _remember_files(files: OpenFiles, connection: Any, _record: object) -> None:
    connection.execute("SELECT count(*) FROM sqlite_master")  # this opens the write-ahead log
    files.remember()


def _begin_sqlite(files: OpenFiles, connection: Connection) -> None:
    # A transaction that writes locks at once: a lock after a read fails if another transaction wrote in between.
    writes = connection.get_execution_options().get("writes", False)
    if writes:
        files.check()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
