"""Whole transactions, given to the drivers as directly as may be."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.store.prepared import Plan

Result = TypeVar("Result")


class Transactions(Protocol):
    """Does plans."""

    async def run(self, plan: Plan[Result]) -> Result:
        """Do a plan in a transaction of its own, which is durable when this returns."""


class SqliteThread:
    """Transactions of SQLite in a thread of their own: through aiosqlite, every step of one is a trip to a thread."""

    def __init__(self, engine: Engine, name: str) -> None:
        """`engine` gives the same connection every time."""
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, plan: Plan[Result]) -> Result:
        """Do a plan, which is finished even if nobody waits for it any more."""
        return await self._in_thread(partial(self._run, plan))

    async def do(self, work: Callable[[Connection], Result]) -> Result:
        """Do something in a transaction, which is finished even if nobody waits for it any more."""
        return await self._in_thread(partial(self._do, work))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    def _do(self, work: Callable[[Connection], Result]) -> Result:
        with self._engine.begin() as connection:
            return work(connection)

    def _run(self, plan: Plan[Result]) -> Result:
        pooled = self._engine.raw_connection()
        connection = pooled.driver_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - of this engine
        try:
            # The lock at once: taking it after a read fails when another wrote between.
            connection.execute("BEGIN IMMEDIATE")
            result = _follow(plan, connection)
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


def _follow(plan: Plan[Result], connection: sqlite3.Connection) -> Result:
    try:
        statement, values = next(plan)
        while True:
            prepared = statement.on("sqlite")
            found = connection.execute(prepared.sql, prepared.arguments(values)).fetchall()
            statement, values = plan.send(prepared.rows(found))
    except StopIteration as end:
        result: Result = end.value
        return result


class PostgresqlTransactions:
    """Transactions of PostgreSQL on a connection of the pool, in the words of asyncpg."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, plan: Plan[Result]) -> Result:
        """Do a plan."""
        async with self._engine.connect() as pooled:
            connection: Any = (await pooled.get_raw_connection()).driver_connection
            try:
                await connection.execute("BEGIN")
                result = await _follow_on(plan, connection)
                await connection.execute("COMMIT")
            except BaseException:
                # What was begun goes with the connection, also where the server says nothing any more.
                connection.terminate()
                raise
            return result


async def _follow_on(plan: Plan[Result], connection: Any) -> Result:
    try:
        statement, values = next(plan)
        while True:
            prepared = statement.on("postgresql")
            found = await connection.fetch(prepared.sql, *prepared.arguments(values))
            statement, values = plan.send(prepared.rows(found))
    except StopIteration as end:
        result: Result = end.value
        return result
