"""The database: transactions that read or write, and the upgrade of its tables.

There are two ways to the store, each for reading and for writing:

- A plain transaction is a function of a connection: `query` runs one that reads, `transact` one that writes. The
  function does not await, so it runs in one piece, in a thread with SQLite.
- Hot paths have prepared statements, directly on the driver: `fetch` runs a short one that reads, `fetch_long` one that
  may take long, `fetch_bounded` one that stops after some bytes, and `run_script` a transaction.

If the answer to a commit is lost, the commit may have been made or not. It is reported as `StoreUnavailable`, like a
failed one. A client that must know sends the message again with the same `client_id`.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Connection, text, update

from gateway.config.database_url import SQLITE
from gateway.core.folding import FoldedLog
from gateway.core.start_error import StartError
from gateway.store import tables, versions
from gateway.store.drivers import Driver
from gateway.store.failures import FAILURES, explain, is_conflict, is_mistake
from gateway.store.figures import Operation, PoolFigures, StoreFigures
from gateway.store.open_files import OpenFiles
from gateway.store.prepared import Rows, Script, Statement
from gateway.store.sqlite_driver import SqliteDriver, Synchronous
from gateway.store.sqlite_file import SqliteFile
from gateway.store.write_health import WriteHealth
from handlers.errors import Unavailable

if TYPE_CHECKING:
    from gateway.store.postgresql import Postgresql

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""Seconds for a lock of SQLite, or for a whole transaction of PostgreSQL. After that the store is unavailable."""

UNHURRIED_SECONDS = 60
"""How long a transaction without a limit may be silent, before PostgreSQL ends it."""

LINES_A_MINUTE = 10
"""How often the log gets the same reason why the store is unavailable."""

T = TypeVar("T")


class StoreUnavailable(Unavailable):
    """The database has failed, for a reason that may pass."""


EXTRA = ("asyncpg", "greenlet")
"""Packages of the extra `postgres`."""


class Database:
    """Transactions on the store. A failure of the database itself becomes `StoreUnavailable`."""

    def __init__(self, url: str, *, synchronous: Synchronous = "FULL") -> None:
        """Prepare the database at `url`, which begins with sqlite:/// or postgresql://.

        `synchronous` is SQLite's: FULL syncs every commit. Raise `StartError` for a wrong URL, without quoting it.
        """
        self._postgresql: Postgresql | None = None
        self._file: SqliteFile | None = None
        self._open_files: OpenFiles | None = None
        self._failures = FAILURES
        self._driver = self._use_sqlite(url, synchronous) if SQLITE.match(url) else self._use_postgresql(url)
        self.health = WriteHealth(self._probe)
        self.figures = StoreFigures()
        self._log = FoldedLog(logger, logging.ERROR, same=LINES_A_MINUTE)

    def _use_sqlite(self, url: str, synchronous: Synchronous) -> Driver:
        self._file = SqliteFile(url)
        self._open_files = OpenFiles(self._file.path)
        return SqliteDriver(self._file.path, self._open_files, synchronous, BUSY_SECONDS)

    def _use_postgresql(self, url: str) -> Driver:
        # Imported here, since SQLite needs none of it. SQLAlchemy's part of it does not load without greenlet.
        try:
            for package in EXTRA:
                import_module(package)
        except ModuleNotFoundError:
            raise StartError(
                "GATEWAY_DATABASE_URL: PostgreSQL needs further packages; pip install 'json-gateway[postgres]'"
            ) from None
        from gateway.store.postgresql import Postgresql
        from gateway.store.postgresql_driver import PostgresqlDriver

        self._postgresql = Postgresql(url, BUSY_SECONDS)
        self._failures += self._postgresql.errors
        return PostgresqlDriver(self._postgresql)

    async def __aenter__(self) -> Self:
        """Do nothing: connections open when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def query(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that reads one state of the store. Its changes are lost."""
        async with self._available("query"), self._limit():
            return await self._driver.query(work)

    async def transact(self, work: Callable[[Connection], T], *, limited: bool = True) -> T:
        """Run `work` in a transaction that writes, which is durable when this returns. An exception undoes it.

        Work on all rows may take longer than others: it is not `limited`.
        """
        async with self._available("transact", writes=True), self._limit() if limited else nullcontext():
            return await self._driver.transact(work if limited else partial(_run_unhurried, work))

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        """Run one short statement that reads, directly on the driver: for what every connection needs.

        With SQLite, this runs at once in the event loop. A row by its key takes a tenth of the time of a thread switch.
        """
        async with self._available("fetch"), self._limit():
            return await self._driver.fetch(statement, values)

    async def fetch_long(self, statement: Statement, **values: Any) -> Rows:
        """Run one statement like `fetch`, but with SQLite in a thread: it may read many rows, or long ones."""
        async with self._available("fetch_long"), self._limit():
            return await self._driver.fetch_long(statement, values)

    async def fetch_bounded(self, statement: Statement, max_bytes: int, **values: Any) -> Rows:
        """Run one statement like `fetch`, but read only the first rows whose sized columns together reach `max_bytes`.

        With SQLite, a few short rows are read at once, and more in a thread.
        """
        async with self._available("fetch_bounded"), self._limit():
            return await self._driver.fetch_bounded(statement, values, max_bytes)

    async def run_script(self, script: Script[T]) -> T:
        """Run a script of prepared statements in a transaction that writes, directly on the driver."""
        async with self._available("run_script", writes=True), self._limit():
            return await self._driver.run_script(script)

    async def upgrade(self) -> None:
        """Upgrade the tables to the newest version, without a time limit, or raise `StartError` if they are foreign."""
        async with _migrating():
            if self._file is not None:
                await asyncio.to_thread(self._file.open)
            await self.transact(versions.upgrade, limited=False)

    async def ping(self) -> None:
        """Check that the store answers, or raise `StoreUnavailable`."""
        await self.query(_ask_nothing)

    async def close(self) -> None:
        """Close all connections."""
        await self.health.close()
        await self._driver.close()
        if self._file is not None:
            self._file.close()

    @property
    def pool(self) -> PoolFigures | None:
        """Return the connections to a database server, or None without one."""
        return None if self._postgresql is None else self._postgresql.pool

    def file_sizes(self) -> dict[str, int]:
        """Return the bytes of the files of the database, if it has any here."""
        return {} if self._open_files is None else self._open_files.sizes()

    def _limit(self) -> AbstractAsyncContextManager[object]:
        # A server that hangs, or is unreachable, never answers. SQLite has its own limit.
        return nullcontext() if self._postgresql is None else asyncio.timeout(BUSY_SECONDS)

    @asynccontextmanager
    async def _available(self, operation: Operation, *, writes: bool = False) -> AsyncIterator[None]:
        try:
            with self.figures.timed(operation):
                yield
        except self._failures as error:
            if is_mistake(error):
                raise
            self.figures.failures[operation] += 1
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


def _run_unhurried(work: Callable[[Connection], T], connection: Connection) -> T:
    """Run work between whose statements a machine may need seconds: to import a migration, or to read a file."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{UNHURRIED_SECONDS}s'"))
    return work(connection)


def _ask_nothing(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
