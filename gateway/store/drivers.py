"""Runs the statements that every message and every connection needs, as directly as possible on the drivers.

Everything else goes through SQLAlchemy.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.store.open_files import OpenFiles
from gateway.store.postgresql import Postgresql
from gateway.store.prepared import Rows, Script, Statement

Result = TypeVar("Result")


class ScriptRunner(Protocol):
    """Runs scripts of prepared statements."""

    async def run_script(self, script: Script[Result]) -> Result:
        """Run a script in its own transaction, which is durable when this returns."""


class StatementReader(Protocol):
    """Runs single statements that read."""

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Run one short statement that only reads."""

    def close(self) -> None:
        """Close the connection."""


class SqliteWriter:
    """Runs SQLite transactions in one thread.

    aiosqlite would pass each step of a transaction to a thread separately.
    """

    def __init__(self, engine: Engine, files: OpenFiles) -> None:
        """`engine` always returns the same connection, which has `files` open."""
        self._engine = engine
        self._files = files
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")

    async def run_script(self, script: Script[Result]) -> Result:
        """Run a script. It finishes even if the caller no longer waits."""
        return await self._in_thread(partial(self._run_script, script))

    async def do(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction. It finishes even if the caller no longer waits."""
        return await self._in_thread(partial(self._do, work))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _do(self, work: Callable[[Connection], Result]) -> Result:
        with self._engine.begin() as connection:
            return work(connection)

    def _run_script(self, script: Script[Result]) -> Result:
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - this engine has no other
        try:
            self._files.check()
            # Lock at once: a lock after a read fails if another transaction wrote in between.
            connection.execute("BEGIN IMMEDIATE")
            result = _run(script, connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        finally:
            pooled.close()
        return result

    async def close(self) -> None:
        """Close the connection and the thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()


def _run(script: Script[Result], connection: sqlite3.Connection) -> Result:
    try:
        statement, values = next(script)
        while True:
            prepared = statement.for_database("sqlite")
            found = connection.execute(prepared.sql, prepared.arguments(values)).fetchall()
            statement, values = script.send(prepared.rows(found))
    except StopIteration as end:
        result: Result = end.value
        return result


class SqliteReader:
    """Runs SQLite reads in the event loop.

    With the write-ahead log, a writer never makes a reader wait.
    """

    def __init__(self, file: str, writer: SqliteWriter) -> None:
        """`writer` runs reads that would have to wait."""
        self._file = file
        self._writer = writer
        self._connection: sqlite3.Connection | None = None

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Read at once. In the rare case of a locked file, read in the writer's thread."""
        prepared = statement.for_database("sqlite")
        sql, arguments = prepared.sql, prepared.arguments(values)
        try:
            return prepared.rows(self._opened().execute(sql, arguments).fetchall())
        except sqlite3.OperationalError:
            found = await self._writer.do(lambda writing: writing.exec_driver_sql(sql, tuple(arguments)).all())
            return prepared.rows(found)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            # No timeout: SQLite would sleep, and the whole event loop with it.
            self._connection = sqlite3.connect(self._file, timeout=0, isolation_level=None)
            self._connection.execute("PRAGMA query_only = ON")
        return self._connection


class PostgresqlDriver:
    """Runs PostgreSQL transactions and reads with asyncpg, on a connection of the pool."""

    def __init__(self, engine: AsyncEngine, postgresql: Postgresql) -> None:
        self._engine = engine
        self._postgresql = postgresql

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Run one statement that reads."""
        async with self._connection() as connection:
            prepared = statement.for_database("postgresql")
            return prepared.rows(await connection.fetch(prepared.sql, *prepared.arguments(values)))

    def close(self) -> None:
        """Do nothing: the pool owns the connections."""

    async def run_script(self, script: Script[Result]) -> Result:
        """Run a script in its own transaction."""
        async with self._connection(writes=True) as connection:
            await connection.execute(self._postgresql.begin)
            result = await _run_async(script, connection)
            await connection.execute("COMMIT")
            return result

    @asynccontextmanager
    async def _connection(self, *, writes: bool = False) -> AsyncIterator[Any]:
        async with self._engine.connect() as pooled:
            connection: Any = (
                await self._postgresql.for_writing(pooled)
                if writes
                else (await pooled.get_raw_connection()).driver_connection
            )
            try:
                yield connection
            except BaseException:
                # The transaction ends with its connection, even if the server no longer answers. The pool opens a
                # new one, which may lead to another server.
                connection.terminate()
                raise


async def _run_async(script: Script[Result], connection: Any) -> Result:
    try:
        statement, values = next(script)
        while True:
            prepared = statement.for_database("postgresql")
            found = await connection.fetch(prepared.sql, *prepared.arguments(values))
            statement, values = script.send(prepared.rows(found))
    except StopIteration as end:
        result: Result = end.value
        return result
