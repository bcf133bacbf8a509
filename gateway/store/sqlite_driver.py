"""Runs SQLite transactions in threads: one thread writes, and a few read.

A transaction is one trip to its thread. With the write-ahead log, readers and the writer do not wait for each other.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
from sqlalchemy import Connection, Engine, Pool, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool, StaticPool

from gateway.store.open_files import OpenFiles
from gateway.store.prepared import Prepared, Rows, Script, Statement
from gateway.store.threads import Threads

READERS = 4
"""Threads that read. More would not be faster, since Python runs one thread at a time."""

READER_CACHE_KB = 512
"""The pages that each connection of a reader keeps. SQLite's own 2 MB would be 8 MB for all, and as fast."""

AT_ONCE_BYTES = 64 * 1024
"""The bytes of long columns that are read at once, in the event loop: as many as one message may have."""

Result = TypeVar("Result")

Synchronous = Literal["FULL", "NORMAL"]


class SqliteDriver:
    """Runs transactions on the connections of its threads."""

    def __init__(self, path: Path, files: OpenFiles, synchronous: Synchronous, seconds: float) -> None:
        """Prepare the connections. `seconds` is the limit of a wait: for a lock, and for a thread."""
        self._path = path
        self._files = files
        set_up = partial(_set_up, synchronous, seconds)
        # Its one connection stays open, so that closing another one does not remove the write-ahead log.
        self._writing = _engine(path, set_up, poolclass=StaticPool)
        event.listen(self._writing, "connect", partial(_remember_files, files))
        event.listen(self._writing, "begin", partial(_begin_writing, files))
        self._reading = _engine(path, set_up, poolclass=QueuePool, pool_size=READERS, pool_use_lifo=True)
        event.listen(self._reading, "connect", _limit_cache)
        event.listen(self._reading, "begin", _begin_reading)
        self._writer = Threads("writer", 1, seconds)
        self._readers = Threads("reader", READERS, seconds)
        self._at_once: sqlite3.Connection | None = None
        self._scripted: sqlite3.Connection | None = None

    async def query(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that reads. Its thread finishes it even if the caller no longer waits."""
        return await self._readers.run(partial(self._query, work))

    async def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Run `work` in a transaction that writes. It finishes even if the caller no longer waits."""
        return await self._writer.run(partial(self._transact, work))

    async def run_script(self, script: Script[Result]) -> Result:
        """Run a script. It finishes even if the caller no longer waits."""
        return await self._writer.run(partial(self._run_script, script))

    async def fetch(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Read at once, in the event loop. In the rare case of a locked file, read in a thread, which waits."""
        prepared = statement.for_database("sqlite")
        try:
            return prepared.rows(self._opened().execute(prepared.sql, prepared.arguments(values)).fetchall())
        except sqlite3.OperationalError:
            return await self.fetch_long(statement, values)

    async def fetch_long(self, statement: Statement, values: dict[str, Any]) -> Rows:
        """Read in a thread."""
        prepared = statement.for_database("sqlite")
        arguments = prepared.arguments(values)
        return await self.query(
            lambda reading: prepared.rows(_driver_of(reading).execute(prepared.sql, arguments).fetchall())
        )

    async def fetch_bounded(self, statement: Statement, values: dict[str, Any], max_bytes: int) -> Rows:
        """Read at once if the rows are short, and otherwise in a thread."""
        prepared = statement.for_database("sqlite")
        read = partial(_read_some, prepared, prepared.arguments(values), prepared.places(statement.sized))
        try:
            rows, is_whole = read(self._opened(), min(max_bytes, AT_ONCE_BYTES))
            is_whole = is_whole or max_bytes <= AT_ONCE_BYTES
        except sqlite3.OperationalError:
            is_whole = False
        if is_whole:
            return prepared.rows(rows)
        return await self.query(lambda reading: prepared.rows(read(_driver_of(reading), max_bytes)[0]))

    async def close(self) -> None:
        """Close the threads and their connections, the writer's last: it takes in the write-ahead log."""
        await self._readers.close(self._reading)
        if self._at_once is not None:
            self._at_once.close()
        await self._writer.close(self._writing)

    def _query(self, work: Callable[[Connection], Result]) -> Result:
        with self._reading.connect() as connection:
            return work(connection)

    def _transact(self, work: Callable[[Connection], Result]) -> Result:
        with self._writing.begin() as connection:
            return work(connection)

    def _run_script(self, script: Script[Result]) -> Result:
        connection = self._writing_connection()
        try:
            _lock(self._files, connection)
            result = _run(script, connection)
            connection.execute("COMMIT")
        except BaseException:
            self._scripted = None
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _writing_connection(self) -> sqlite3.Connection:
        """Return the one connection of the writer. Its pool is asked for it again after each failure."""
        if self._scripted is None:
            pooled = self._writing.raw_connection()
            connection = pooled.driver_connection
            pooled.close()
            assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - this engine has no other
            # What it takes to undo one statement of a large batch would go to a temporary file, made for it each time.
            # Not before the first script: an upgrade makes indexes, which may be too large for the memory.
            connection.execute("PRAGMA temp_store = MEMORY")
            self._scripted = connection
        return self._scripted

    def _opened(self) -> sqlite3.Connection:
        if self._at_once is None:
            # No timeout: SQLite would sleep, and the whole event loop with it.
            self._at_once = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            self._at_once.execute("PRAGMA query_only = ON")
            _limit_cache(self._at_once, None)
        return self._at_once


def _engine(path: Path, set_up: Callable[[Any, object], None], *, poolclass: type[Pool], **options: Any) -> Engine:
    url = URL.create("sqlite+pysqlite", database=str(path))
    # Parameters are messages of users, and errors are logged.
    engine = create_engine(url, poolclass=poolclass, hide_parameters=True, **options)
    event.listen(engine, "connect", set_up)
    return engine


def _set_up(synchronous: Synchronous, seconds: float, connection: sqlite3.Connection, _record: object) -> None:
    # The driver opens no transactions of its own: `_begin_reading` and `_begin_writing` do.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    _use_wal(connection, seconds)
    # FULL syncs at every commit, so that acknowledged messages survive a power failure. With NORMAL they survive only
    # the end of the process.
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")


def _limit_cache(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KB}")  # a positive number would be one of pages


def _use_wal(connection: sqlite3.Connection, seconds: float) -> None:
    """Switch to the write-ahead log, so that readers and the writer do not wait for each other.

    The file remembers this mode. If several connections set it first at the same time, SQLite fails at once, despite
    the timeout.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _remember_files(files: OpenFiles, connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("SELECT count(*) FROM sqlite_master")  # this opens the write-ahead log
    files.remember()


def _begin_reading(connection: Connection) -> None:
    _driver_of(connection).execute("BEGIN")


def _begin_writing(files: OpenFiles, connection: Connection) -> None:
    _lock(files, _driver_of(connection))


def _lock(files: OpenFiles, connection: sqlite3.Connection) -> None:
    files.check()
    # Lock at once: a lock after a read fails if another transaction wrote in between.
    connection.execute("BEGIN IMMEDIATE")


def _driver_of(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _read_some(
    prepared: Prepared, arguments: list[Any], sized: Sequence[int], connection: sqlite3.Connection, max_bytes: int
) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the first rows, up to a size, and whether they are all. SQLite reads a row only when it is asked for."""
    found: list[tuple[Any, ...]] = []
    cursor = connection.execute(prepared.sql, arguments)
    try:
        for row in cursor:
            found.append(row)
            max_bytes -= sum([_size(row[place]) for place in sized])
            if max_bytes <= 0:
                return found, False
    finally:
        cursor.close()  # or its transaction would go on
    return found, True


def _size(value: str | None) -> int:
    if value is None:
        return 0
    return len(value) if value.isascii() else len(value.encode())


def _found(connection: sqlite3.Connection, prepared: Prepared, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
    arguments = prepared.arguments(values)
    if prepared.in_one_row is None or "items" not in values:
        return connection.execute(prepared.sql, arguments).fetchall()
    # sqlite3 releases the interpreter's lock for each row, and a busy event loop takes milliseconds to return it.
    [(text,)] = connection.execute(prepared.in_one_row, arguments).fetchall()
    found: list[list[Any]] = orjson.loads(text)
    return found


def _run(script: Script[Result], connection: sqlite3.Connection) -> Result:
    try:
        statement, values = next(script)
        while True:
            prepared = statement.for_database("sqlite")
            found = _found(connection, prepared, values)
            statement, values = script.send(prepared.rows(found))
    except StopIteration as end:
        result: Result = end.value
        return result
