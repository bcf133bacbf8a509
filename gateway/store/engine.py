"""The database: one engine, transactions for reading and for writing, and the migrations.

A commit whose answer is lost may have been made or not. It is reported as `StoreUnavailable` like all that was not:
whoever must know sends again with a `client_id`.
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
from sqlalchemy import Connection, column, create_engine, event, make_url, table, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from gateway.config.database_url import SQLITE
from gateway.core.folding import FoldedLog
from gateway.store import versions
from gateway.store.drivers import PostgresqlDriver, ScriptRunner, SqliteReader, SqliteWriter, StatementReader
from gateway.store.failures import FAILURES, explain, is_conflict, is_mistake
from gateway.store.open_files import OpenFiles
from gateway.store.postgresql import Postgresql
from gateway.store.prepared import Rows, Script, Statement
from gateway.store.sqlite_file import SqliteFile
from gateway.store.tables import VERSION_TABLE
from gateway.store.write_health import WriteHealth
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""How long SQLite may be locked, and a whole transaction of PostgreSQL may take, before the store is unavailable."""

LINES_A_MINUTE = 10
"""How often the same reason is logged for which the store is not available."""

T = TypeVar("T")

Synchronous = Literal["FULL", "NORMAL"]

_OPTIONS: dict[str, Any] = {
    "hide_parameters": True,  # they are people's messages, and errors are logged
}


class StoreUnavailable(Unavailable):
    """The database did not do what it was asked, for a reason that may pass."""


class Database:
    """Transactions on the store. Whatever fails for the database's own reasons becomes `StoreUnavailable`."""

    def __init__(self, url: str, *, synchronous: Synchronous = "FULL") -> None:
        """`url` begins with sqlite:/// or postgresql://. `synchronous` is SQLite's: FULL syncs every commit.

        Raises `StartError` if the URL is wrong, without quoting it.
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
        # SQLite has one writer at a time. Waiting here costs nothing; waiting there is a loop of naps.
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
        # Of SQLite, every transaction sees one state anyway.
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._script_runner = self._reader = PostgresqlDriver(self._engine, self._postgresql)

    async def __aenter__(self) -> Self:
        """Nothing to do: connections are opened when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that sees one state of the store; changes in it are lost."""
        async with self._available(), self._limit(), self._reading.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is durable once this context is left, and undone if that is by an exception."""
        async with self._available(writes=True), self._limit(), self._my_turn(), self._writing.connect() as connection:
            if self._postgresql is not None:
                await self._postgresql.for_writing(connection)
            async with connection.begin():
                yield connection

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction as `write` opens it, with as little to and fro as the driver allows."""
        if self._writer is None:
            async with self.write() as connection:
                return await connection.run_sync(work)
        async with self._available(writes=True), self._my_turn():
            return await self._writer.do(work)

    async def query(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction as `read` opens it."""
        async with self.read() as connection:
            return await connection.run_sync(work)

    async def run_script(self, script: Script[T]) -> T:
        """Do a plan in a transaction as `write` opens it, with nothing between its statements and the driver."""
        async with self._available(writes=True), self._limit(), self._my_turn():
            return await self._script_runner.run_script(script)

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        """Read with one short statement, with nothing between it and the driver: for what every connection needs.

        On SQLite this happens at once, in the event loop: a row by its key takes a tenth of the trip to a thread.
        """
        async with self._available(), self._limit():
            return await self._reader.fetch(statement, values)

    async def upgrade(self) -> None:
        """Bring the tables to the newest version, however long that takes; raises `StartError` if they are not ours."""
        async with _migrating():
            if self._file is not None:
                await asyncio.to_thread(self._file.open)
            async with self._available(), self._my_turn(), self._writing.begin() as connection:
                await connection.run_sync(versions.upgrade)
        if self._writer is not None:
            # Open from now on, it keeps the write-ahead log from being removed with another connection.
            await self.transact(_do_nothing)

    async def transact_unbounded(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction as `write` opens it, however long that takes, as a change of all rows does."""
        async with self._available(), self._my_turn(), self._writing.begin() as connection:
            done: T = await connection.run_sync(work)
            return done

    async def ping(self) -> None:
        """Ask the store for a sign of life, or raise `StoreUnavailable`."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Let the connections go."""
        await self.health.close()
        await self._engine.dispose()
        self._reader.close()
        if self._writer is not None:
            await self._writer.close()
        if self._file is not None:
            self._file.close()

    def _limit(self) -> AbstractAsyncContextManager[object]:
        # A server that hangs, or is cut off, says nothing at all. SQLite has a limit of its own.
        return nullcontext() if self._postgresql is None else asyncio.timeout(BUSY_SECONDS)

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        if self._writer is None:
            yield
            return
        # Without a limit, each of many would wait for all before it to find the file locked.
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
            # The line in the log has said it: the driver's own words may have the user's name in them.
            raise StoreUnavailable("store") from None
        if writes:
            self._note_write()

    def _note_write(self) -> None:
        if self._postgresql is not None and not self.health.takes_writes:
            # Some of the other connections may still lead to the server that refused.
            self._postgresql.renew(at_once=True)
        self.health.record(made=True)

    def _note_failure(self, error: Exception, *, writes: bool) -> None:
        reason = explain(error, BUSY_SECONDS)
        if self._postgresql is not None:
            reason = self._postgresql.redacted(reason)
        # While the store is away, every message of every client fails.
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
"""Alembic keeps in globals what it works on, so one process migrates one database at a time."""


_VERSIONS = table(VERSION_TABLE, column("version_num"))
_CHANGE_NOTHING = update(_VERSIONS).values(version_num=_VERSIONS.c.version_num)
"""A write like any other, to the disk, which leaves everything as it is."""


def _do_nothing(_connection: Connection) -> None:
    """Open and close a transaction."""


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
    opening._thread.daemon = True  # as SQLAlchemy has it: what it forgets must not keep the process
    try:
        return await opening
    except Exception:
        # Otherwise the thread reports its end to a loop which the command that fails here may have closed.
        await asyncio.to_thread(opening._thread.join)
        raise


def _set_up_sqlite(synchronous: Synchronous, connection: Any, _record: object) -> None:
    # No transactions of the driver's own: `_begin_sqlite` opens them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    _use_wal(cursor)
    # FULL syncs at every commit, so that what was acknowledged survives a power cut. With NORMAL it survives
    # only the end of the process.
    cursor.execute(f"PRAGMA synchronous = {synchronous}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Have readers and the writer not wait for each other.

    The file remembers this. For the first ones who open it at once, SQLite fails without waiting, whatever the timeout.
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
    connection.execute("SELECT count(*) FROM sqlite_master")  # which opens the write-ahead log
    files.remember()


def _begin_sqlite(files: OpenFiles, connection: Connection) -> None:
    # A transaction that will write takes the lock at once: taking it after a read fails when another wrote between.
    writes = connection.get_execution_options().get("writes", False)
    if writes:
        files.check()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
