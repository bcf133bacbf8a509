"""What every message and every connection needs of the store, given to the drivers as directly as may be."""

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
    """Does plans."""

    async def run_script(self, script: Script[Result]) -> Result:
        """Do a plan in a transaction of its own, which is durable when this returns."""


class StatementReader(Protocol):
    """Reads."""

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Do one short statement that only reads."""

    def close(self) -> None:
        """Let the connection go."""


class SqliteWriter:
    """Transactions of SQLite in a thread of their own: through aiosqlite, every step of one is a trip to a thread."""

    def __init__(self, engine: Engine, files: OpenFiles) -> None:
        """`engine` returns the same connection every time, to `files`."""
        self._engine = engine
        self._files = files
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")

    async def run_script(self, script: Script[Result]) -> Result:
        """Do a plan, which is finished even if nobody waits for it any more."""
        return await self._in_thread(partial(self._run_script, script))

    async def do(self, work: Callable[[Connection], Result]) -> Result:
        """Do something in a transaction, which is finished even if nobody waits for it any more."""
        return await self._in_thread(partial(self._do, work))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _do(self, work: Callable[[Connection], Result]) -> Result:
        with self._engine.begin() as connection:
            return work(connection)

    def _run_script(self, script: Script[Result]) -> Result:
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - of this engine
        try:
            self._files.check()
            # The lock at once: taking it after a read fails when another wrote between.
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
        """Let the connection go."""
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
    """Reads of SQLite in the event loop, which a writer never makes wait: that is what its write-ahead log is for."""

    def __init__(self, file: str, writer: SqliteWriter) -> None:
        """`writer` does what cannot be done at once."""
        self._file = file
        self._writer = writer
        self._connection: sqlite3.Connection | None = None

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Read at once; in the rare moment in which the file is locked, in the writer's thread."""
        prepared = statement.for_database("sqlite")
        sql, arguments = prepared.sql, prepared.arguments(values)
        try:
            return prepared.rows(self._opened().execute(sql, arguments).fetchall())
        except sqlite3.OperationalError:
            found = await self._writer.do(lambda writing: writing.exec_driver_sql(sql, tuple(arguments)).all())
            return prepared.rows(found)

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            # No timeout: SQLite waits in naps, and here everybody would.
            self._connection = sqlite3.connect(self._file, timeout=0, isolation_level=None)
            self._connection.execute("PRAGMA query_only = ON")
        return self._connection


class PostgresqlDriver:
    """Transactions and reads of PostgreSQL on a connection of the pool, in the words of asyncpg."""

    def __init__(self, engine: AsyncEngine, postgresql: Postgresql) -> None:
        self._engine = engine
        self._postgresql = postgresql

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Read."""
        async with self._connection() as connection:
            prepared = statement.for_database("postgresql")
            return prepared.rows(await connection.fetch(prepared.sql, *prepared.arguments(values)))

    def close(self) -> None:
        """Nothing to do: the pool has the connections."""

    async def run_script(self, script: Script[Result]) -> Result:
        """Do a plan."""
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
                # What was begun goes with the connection, also where the server says nothing any more. The pool opens
                # another in its place, which may lead to another server.
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
