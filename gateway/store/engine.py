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
from typing import Any, Literal, TypeVar

import aiosqlite
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from gateway.startup import StartError
from gateway.store import versions
from gateway.store.drivers import Finder, PostgresqlDriver, SqliteFinder, SqliteWriter, Transactions
from gateway.store.prepared import Plan, Rows, Statement
from gateway.store.sqlite_file import SqliteFile
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""How long SQLite may be locked, and a whole transaction of PostgreSQL may take, before the store is unavailable."""

POOL_SIZE = 8
"""Connections to PostgreSQL. Writes to rooms need one; the rest is for reading."""

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
        """`url` begins with sqlite:/// or postgresql://. `synchronous` is SQLite's: FULL syncs every commit."""
        self._sqlite = url.startswith("sqlite:")
        self._file = SqliteFile(url) if self._sqlite else None
        self._engine = _sqlite_engine(url, synchronous) if self._sqlite else _postgresql_engine(url)
        # Of SQLite, every transaction sees one state anyway.
        options: dict[str, Any] = {} if self._sqlite else {"isolation_level": "REPEATABLE READ"}
        self._reading = self._engine.execution_options(**options)
        self._writing = self._engine.execution_options(writes=True)
        # SQLite has one writer at a time. Waiting here costs nothing; waiting there is a loop of naps.
        self._turn = asyncio.Lock()
        self._writer = _sqlite_writer(url, synchronous) if self._sqlite else None
        self._finder: Finder
        self._transactions: Transactions
        if self._writer is not None and self._file is not None:
            self._transactions, self._finder = self._writer, SqliteFinder(str(self._file.path), self._writer)
        else:
            self._transactions = self._finder = PostgresqlDriver(self._engine)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that sees one state of the store; changes in it are lost."""
        async with _available(), self._limit(), self._reading.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is durable once this context is left, and undone if that is by an exception."""
        async with _available(), self._limit(), self._my_turn(), self._writing.begin() as connection:
            yield connection

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction as `write` opens it, with as little to and fro as the driver allows."""
        if self._writer is None:
            async with self.write() as connection:
                return await connection.run_sync(work)
        async with _available(), self._my_turn():
            return await self._writer.do(work)

    async def look_up(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction as `read` opens it."""
        async with self.read() as connection:
            return await connection.run_sync(work)

    async def carry_out(self, plan: Plan[T]) -> T:
        """Do a plan in a transaction as `write` opens it, with nothing between its statements and the driver."""
        async with _available(), self._limit(), self._my_turn():
            return await self._transactions.carry_out(plan)

    async def find(self, statement: Statement, **values: Any) -> Rows:
        """Read with one short statement, with nothing between it and the driver: for what every connection needs.

        On SQLite this happens at once, in the event loop: a row by its key takes a tenth of the trip to a thread.
        """
        async with _available(), self._limit():
            return await self._finder.find(statement, values)

    async def upgrade(self) -> None:
        """Bring the tables to the newest version, however long that takes; raises `StartError` if they are not ours."""
        async with _migrating():
            if self._file is not None:
                await asyncio.to_thread(self._file.open)
            async with _available(), self._my_turn(), self._writing.begin() as connection:
                await connection.run_sync(versions.upgrade)

    async def ping(self) -> None:
        """Ask the store for a sign of life, or raise `StoreUnavailable`."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Let the connections go."""
        await self._engine.dispose()
        self._finder.close()
        if self._writer is not None:
            await self._writer.close()
        if self._file is not None:
            self._file.close()

    def _limit(self) -> AbstractAsyncContextManager[object]:
        # A server that hangs, or is cut off, says nothing at all. SQLite has a limit of its own.
        return nullcontext() if self._sqlite else asyncio.timeout(BUSY_SECONDS)

    @asynccontextmanager
    async def _my_turn(self) -> AsyncIterator[None]:
        if not self._sqlite:
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
async def _migrating() -> AsyncIterator[None]:
    while not _MIGRATING.acquire(blocking=False):  # noqa: ASYNC110 - another event loop may hold it
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        _MIGRATING.release()


_MIGRATING = threading.Lock()
"""Alembic keeps in globals what it works on, so one process migrates one database at a time."""


@asynccontextmanager
async def _available() -> AsyncIterator[None]:
    try:
        yield
    except _FAILURES as error:
        # OSError, because asyncpg reports a server that is not there, or does not answer, as the system does.
        if _is_mistake(error):
            raise
        logger.error("the store is not available: %s", _cause(error))  # noqa: TRY400 - the cause says it all
        raise StoreUnavailable("store") from error


def _asyncpg_errors() -> tuple[type[Exception], ...]:
    try:
        import asyncpg  # type: ignore[import-untyped] # it brings no types
    except ModuleNotFoundError:
        return ()
    return asyncpg.PostgresError, asyncpg.InterfaceError


_FAILURES: tuple[type[Exception], ...] = (DBAPIError, PoolTimeout, OSError, sqlite3.Error, *_asyncpg_errors())


def _is_mistake(error: Exception) -> bool:
    """Whether the fault is in a statement; all else the database says of itself."""
    if isinstance(error, DBAPIError) and error.statement is None:
        return False
    cause = error.orig if isinstance(error, DBAPIError) else error
    # Wrong data that asyncpg finds itself is a ValueError; under SQLAlchemy, that is the cause of the cause.
    if isinstance(cause, (*_SQLITE_MISTAKES, ValueError)) or isinstance(getattr(cause, "__cause__", None), ValueError):
        return True
    code = getattr(cause, "sqlstate", None) or ""
    return code[:2] in _MISTAKE_CLASSES


_SQLITE_MISTAKES = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError)
_MISTAKE_CLASSES = {"22", "23", "42"}
"""PostgreSQL's classes of errors: wrong data, a constraint that does not hold, a statement that means nothing."""


def _cause(error: Exception) -> object:
    # SQLAlchemy's own text quotes the statement, at length.
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause) or f"no answer within {BUSY_SECONDS} seconds"


def _sqlite_writer(url: str, synchronous: Synchronous) -> SqliteWriter:
    engine = create_engine(make_url(url).set(drivername="sqlite+pysqlite"), poolclass=StaticPool, **_OPTIONS)
    event.listen(engine, "connect", partial(_set_up_sqlite, synchronous))
    event.listen(engine, "begin", _begin_sqlite)
    return SqliteWriter(engine.execution_options(writes=True))


def _sqlite_engine(url: str, synchronous: Synchronous) -> AsyncEngine:
    engine = create_async_engine(
        make_url(url).set(drivername="sqlite+aiosqlite"),
        connect_args={"async_creator_fn": _open_sqlite},
        **_OPTIONS,
    )
    event.listen(engine.sync_engine, "connect", partial(_set_up_sqlite, synchronous))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
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


def _postgresql_engine(url: str) -> AsyncEngine:
    try:
        import asyncpg
    except ModuleNotFoundError:
        raise StartError("PostgreSQL needs a further package; pip install 'json-gateway[postgres]'") from None
    try:
        make_url(url)
    except (ArgumentError, ValueError):
        raise StartError(
            "this is no URL of a database; expected one such as postgresql://user:password@host:5432/name,"
            " with the special characters of the password percent-encoded"
        ) from None
    # asyncpg itself reads the URL, as psql would: `sslmode` and the rest mean what they do elsewhere.
    connect = partial(asyncpg.connect, url, timeout=BUSY_SECONDS, server_settings=_POSTGRESQL_SETTINGS)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, pool_size=POOL_SIZE, max_overflow=0, **_OPTIONS
    )
    event.listen(engine.sync_engine, "checkout", _check_postgresql)
    return engine


_POSTGRESQL_SETTINGS = {
    "application_name": "json-gateway",
    # Every statement here finds its rows by a key, a few at a time. Without statistics, as of new tables, PostgreSQL
    # would rather read them whole, and keep that plan; with them, it makes plans that take longer than the statement.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    # Should this machine vanish in the middle of a transaction, its locks on rooms go soon after.
    "idle_in_transaction_session_timeout": str(4 * BUSY_SECONDS * 1000),
}


def _check_postgresql(connection: Any, _record: object, _proxy: object) -> None:
    # Connections that a restarted server has closed are known to be: no question to the server is needed.
    if connection.driver_connection.is_closed():
        raise DisconnectionError


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


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that will write takes the lock at once: taking it after a read fails when another wrote between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
