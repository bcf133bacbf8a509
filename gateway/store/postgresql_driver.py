"""Runs PostgreSQL transactions on a pool of connections: with SQLAlchemy, or prepared statements with asyncpg."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection

from gateway.store.postgresql import Postgresql
from gateway.store.prepared import Rows, Script, Statement

Result = TypeVar("Result")


class PostgresqlDriver:
    """Runs transactions in the event loop, each on a connection of the pool."""

    def __init__(self, postgresql: Postgresql) -> None:
        self._postgresql = postgresql
        self.engine = postgresql.engine()
        self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ")

    async def query(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that reads one state."""
        async with self._reading.connect() as connection:
            return await connection.run_sync(work)

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that writes."""
        async with self.engine.connect() as connection:
            await self._postgresql.for_writing(connection)
            async with connection.begin():
                return await connection.run_sync(work)

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Run one statement that reads."""
        async with self._connection() as connection:
            prepared = statement.for_database("postgresql")
            return prepared.rows(await connection.fetch(prepared.sql, *prepared.arguments(values)))

    async def fetch_long(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Run one statement that reads."""
        return await self.fetch(statement, values)

    async def fetch_bounded(self, statement: Statement, values: dict[str, Any], max_bytes: int) -> Rows:
        """Run one statement that reads. It leaves out the rows itself, by its parameter `max_bytes`."""
        return await self.fetch(statement, values | {"max_bytes": max_bytes})

    async def run_script(self, script: Script[Result]) -> Result:
        """Run a script in its own transaction."""
        async with self._connection(writes=True) as connection:
            await connection.execute(self._postgresql.begin)
            result = await _run(script, connection)
            await connection.execute("COMMIT")
            return result

    async def close(self) -> None:
        """Close the pool."""
        await self.engine.dispose()

    @asynccontextmanager
    async def _connection(self, *, writes: bool = False) -> AsyncIterator[Any]:
        async with self.engine.connect() as pooled:
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


async def _run(script: Script[Result], connection: Any) -> Result:
    try:
        statement, values = next(script)
        while True:
            prepared = statement.for_database("postgresql")
            found = await connection.fetch(prepared.sql, *prepared.arguments(values))
            statement, values = script.send(prepared.rows(found))
    except StopIteration as end:
        result: Result = end.value
        return result
