"""The database: one engine, transactions for reading and for writing, and the migrations."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.startup import StartError
from handlers.errors import Unavailable

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
"""How long to wait for a lock, a free connection or an answer before the store is unavailable."""

POOL_SIZE = 8
"""Connections to PostgreSQL. Writes to rooms need one; the rest is for reading."""

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
        self._engine = _sqlite_engine(url, synchronous) if self._sqlite else _postgresql_engine(url)
        # SQLite has one writer at a time. Waiting here costs nothing; waiting there is a loop of naps.
        self._turn: AbstractAsyncContextManager[object] = asyncio.Lock() if self._sqlite else nullcontext()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that sees one state of the store; changes in it are lost."""
        async with _available(), self._engine.connect() as connection:
            if not self._sqlite:  # which does so anyway
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that is durable once this context is left, and undone if that is by an exception."""
        async with self._turn, _available(), self._engine.connect() as connection:
            await connection.execution_options(writes=True)
            async with connection.begin():
                yield connection

    async def upgrade(self) -> None:
        """Bring the tables to the newest version."""
        async with self.write() as connection:
            await connection.run_sync(_upgrade)

    async def ping(self) -> None:
        """Ask the store for a sign of life, or raise `StoreUnavailable`."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Let the connections go."""
        await self._engine.dispose()


_MISTAKES = (IntegrityError, DataError, ProgrammingError)
"""What the database says when the fault is in the statement; all else it says of itself."""


@asynccontextmanager
async def _available() -> AsyncIterator[None]:
    try:
        yield
    except _MISTAKES:
        raise
    except (DBAPIError, PoolTimeout, OSError) as error:
        # OSError, because asyncpg reports a server that is not there as the system does.
        logger.error("the store is not available: %s", _cause(error))  # noqa: TRY400 - the cause says it all
        raise StoreUnavailable("store") from error


def _cause(error: Exception) -> object:
    # SQLAlchemy's own text quotes the statement, at length.
    return error.orig if isinstance(error, DBAPIError) else error


def _sqlite_engine(url: str, synchronous: Synchronous) -> AsyncEngine:
    engine = create_async_engine(make_url(url).set(drivername="sqlite+aiosqlite"), **_OPTIONS)
    event.listen(engine.sync_engine, "connect", partial(_set_up_sqlite, synchronous))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _postgresql_engine(url: str) -> AsyncEngine:
    try:
        return create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            connect_args={"timeout": BUSY_SECONDS, "command_timeout": BUSY_SECONDS},
            **_OPTIONS,
        )
    except ModuleNotFoundError:
        raise StartError("PostgreSQL needs a further package; pip install 'json-gateway[postgres]'") from None


def _set_up_sqlite(synchronous: Synchronous, connection: Any, _record: object) -> None:
    # No transactions of the driver's own: `_begin_sqlite` opens them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # FULL syncs at every commit, so that what was acknowledged survives a power cut. With NORMAL it survives
    # only the end of the process.
    cursor.execute(f"PRAGMA synchronous = {synchronous}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that will write takes the lock at once: taking it after a read fails when another wrote between.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "gateway:store/migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
