"""The statements that a gateway in this process runs, and what a store reads for each."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped] # it brings no types
import orjson
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.store.postgresql import Postgresql
from gateway.store.tables import metadata
from tests.support.waiting import WAIT_SECONDS

Call = tuple[str, tuple[Any, ...]]
"""A statement as the driver gets it, and its parameters. SQLite's statements contain them."""

MOST_ROWS = 2500
"""Rows that one statement may read: no page and no batch has more."""

MOST_STEPS = 20_000
"""SQLite's steps for so many rows."""


class Recorder:
    """Records the statements of gateways that open their store after this."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._calls: dict[str, Call] = {}
        self._connect_sqlite, self._connect_postgresql = sqlite3.connect, Postgresql.connect
        self._engine = Postgresql.engine
        monkeypatch.setattr(sqlite3, "connect", self._on_sqlite)
        monkeypatch.setattr(sqlite3.dbapi2, "connect", self._on_sqlite)
        monkeypatch.setattr(Postgresql, "connect", lambda postgresql: self._on_postgresql(postgresql))
        monkeypatch.setattr(Postgresql, "engine", lambda postgresql: self._with_sqlalchemy(postgresql))

    @contextmanager
    def statements(self) -> Iterator[list[Call]]:
        """Collect the statements that run meanwhile, each text once."""
        self._calls.clear()
        found: list[Call] = []
        yield found
        found += self._calls.values()

    def _record(self, sql: str, arguments: Sequence[Any] = ()) -> None:
        if sql.split(maxsplit=1)[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"} and "FROM sqlite_master" not in sql:
            self._calls.setdefault(sql, (sql, tuple(arguments)))

    def _on_sqlite(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = self._connect_sqlite(*arguments, **options)
        connection.set_trace_callback(self._record)
        return connection

    async def _on_postgresql(self, postgresql: Postgresql) -> Any:
        connection = await self._connect_postgresql(postgresql)
        connection.add_query_logger(lambda query: self._record(query.query, query.args))
        return connection

    def _with_sqlalchemy(self, postgresql: Postgresql) -> AsyncEngine:
        engine = self._engine(postgresql)

        @event.listens_for(engine.sync_engine, "before_cursor_execute")
        def record(_connection: object, _cursor: object, sql: str, values: Any, _context: object, many: bool) -> None:
            self._record(sql, values[0] if many else values)

        return engine


async def excesses(store_url: str, calls: Sequence[Call]) -> list[str]:
    """Return the statements that read more than a page, with their plans."""
    if store_url.startswith("sqlite"):
        return [excess for call in calls if (excess := _excess_on_sqlite(store_url, *call))]
    return await _excesses_on_postgresql(store_url, calls)


def _excess_on_sqlite(store_url: str, sql: str, _: object) -> str | None:
    with sqlite3.connect(store_url.removeprefix("sqlite:///")) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
        steps = _steps(connection, sql) if sql.startswith("SELECT") else 0
    connection.close()
    scans = [line for line in plan if line.startswith("SCAN") and line.split()[1] in metadata.tables]
    return "\n".join([sql, f"{steps} steps", *plan]) if scans or steps > MOST_STEPS else None


def _steps(connection: sqlite3.Connection, sql: str) -> int:
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 100

    connection.set_progress_handler(count, 100)
    connection.execute(sql).fetchall()
    connection.set_progress_handler(None, 100)
    return counted


async def _excesses_on_postgresql(store_url: str, calls: Sequence[Call]) -> list[str]:
    connection = await Postgresql(store_url, WAIT_SECONDS).connect()  # with the settings of the gateway's own
    try:
        plans = [(sql, await _plan(connection, sql, arguments)) for sql, arguments in calls]
        await connection.execute("ANALYZE")  # a new store has no statistics, and an older one has some
        plans += [(sql, await _plan(connection, sql, arguments)) for sql, arguments in calls]
    finally:
        await connection.close(timeout=WAIT_SECONDS)
    return [_worded(sql, plan) for sql, plan in plans if _scans(plan) or _rows(plan) > MOST_ROWS]


async def rows_read_by_kept_plan(
    connection: Any, sql: str, arguments: Sequence[Any], grow: Callable[[], Awaitable[object]]
) -> int:
    """Let PostgreSQL plan a statement, make the tables grow, and return the most rows that a part of the plan reads."""
    given = ", ".join(map(_literal, arguments))
    await connection.execute(f"PREPARE kept AS {sql}")
    await connection.fetch(f"EXECUTE kept({given})")
    await grow()
    [[plan]] = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) EXECUTE kept({given})")
    await connection.execute("DEALLOCATE kept")
    return _rows(orjson.loads(plan)[0]["Plan"])


async def _plan(connection: Any, sql: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """Run a prepared statement, undo it, and return its plan. An insert that succeeded before may be refused now."""
    try:
        return await _explained(connection, "ANALYZE, TIMING off, FORMAT json", sql, arguments)
    except asyncpg.IntegrityConstraintViolationError:
        return await _explained(connection, "FORMAT json", sql, arguments)


async def _explained(connection: Any, options: str, sql: str, arguments: Sequence[Any]) -> dict[str, Any]:
    given = f"({', '.join(map(_literal, arguments))})" if arguments else ""
    await connection.execute(f"BEGIN; PREPARE explained AS {sql}")
    try:
        [[plan]] = await connection.fetch(f"EXPLAIN ({options}) EXECUTE explained{given}")
    finally:
        await connection.execute("ROLLBACK; DEALLOCATE explained")
    top: dict[str, Any] = orjson.loads(plan)[0]["Plan"]
    return top


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _worded(sql: str, plan: dict[str, Any]) -> str:
    return "\n".join([sql, f"{_rows(plan)} rows", *map(_line, _nodes(plan))])


def _line(node: dict[str, Any]) -> str:
    names = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Actual Rows", "Actual Loops")
    return ", ".join(str(node[name]) for name in names if name in node)


def _scans(plan: dict[str, Any]) -> bool:
    return any(node["Node Type"] == "Seq Scan" for node in _nodes(plan))


def _rows(plan: dict[str, Any]) -> int:
    """Return the most rows that a part of a plan has read, including those that it has then left out."""
    return max(
        int(node.get("Actual Loops", 0) * (node.get("Actual Rows", 0) + sum(node.get(name, 0) for name in _LEFT_OUT)))
        for node in _nodes(plan)
    )


_LEFT_OUT = ("Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck")


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(value).lower()
    return "'" + str(value).replace("'", "''") + "'"
