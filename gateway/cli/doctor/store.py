"""The database and its tables."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from gateway.cli.doctor.findings import Finding, ok, problem, warning
from gateway.cli.doctor.machine import clock_difference
from gateway.cli.doctor.subject import Subject
from gateway.config import database_url
from gateway.config.database_url import SQLITE
from gateway.core.start_error import StartError
from gateway.store import sqlite_file, versions
from gateway.store.engine import Database
from handlers.errors import Unavailable

MANY_WAL_BYTES = 256 * 1024 * 1024
"""The write-ahead log should have been merged long before."""

WAL = 2
"""The number in the head of a SQLite file that says that it has a write-ahead log."""


async def database(subject: Subject) -> AsyncIterator[Finding]:
    """Check that the database answers and takes writes."""
    settings = subject.settings
    if SQLITE.match(settings.store_url):
        for finding in _sqlite(sqlite_file.path_of(settings.store_url)):
            yield finding
        return
    place = database_url.redacted(settings.store_url)
    try:
        async with Database(settings.store_url) as found:
            server = await found.query(_server)
    except Unavailable:
        yield problem(
            f"{place} does not answer", "GATEWAY_DATABASE_URL=…  # or start the server; the line above says why"
        )
        return
    for finding in _postgresql(place, server):
        yield finding


async def migrations(subject: Subject) -> AsyncIterator[Finding]:
    """Check whether the tables fit this version of the gateway."""
    settings = subject.settings
    try:
        revision = await _revision(settings.store_url)
    except StartError as error:
        yield problem(str(error), "install the version of the gateway that fits, or restore a backup")
        return
    except Unavailable:
        yield warning("the tables cannot be looked at: the database does not answer", "see the check of the database")
        return
    if revision is None:
        yield ok("there are no tables yet; the first start makes them")
    elif revision == versions.NEWEST:
        yield ok(f"the tables are up to date ({revision})")
    elif revision > versions.NEWEST:
        yield warning(
            f"the tables are of a newer gateway ({revision}; this one has {versions.NEWEST})",
            "pip install --upgrade json-gateway",
        )
    else:
        yield warning(
            f"the tables are of an older gateway ({revision}; this one has {versions.NEWEST})",
            "gateway db upgrade  # every start does it; make a backup before",
        )


async def _revision(url: str) -> str | None:
    if SQLITE.match(url) is None:
        async with Database(url) as found:
            return await found.query(versions.check)
    path = sqlite_file.path_of(url)
    return _checked(path) if path.exists() and path.stat().st_size else None


def _checked(path: Path) -> str | None:
    """Check a file, and make nothing beside it: without a log beside it, nothing has it open."""
    return sqlite_file.check(path, is_unused=not _log_of(path).exists())


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _sqlite(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield ok(f"{path} is not there yet; the first start makes it")
        return
    try:
        _checked(path)
    except StartError as error:
        yield problem(str(error), "GATEWAY_DATABASE_URL=…  # or: gateway db restore FILE")
        return
    blocked = [each for each in (path, path.parent) if not os.access(each, os.W_OK)]
    for each in blocked:
        yield problem(f"this user cannot write {each}", f"chown {os.geteuid()} {each}")
    if path.stat().st_mode & 0o077:
        yield problem(f"others can read {path}", f"chmod 600 {path}")
    wal = _log_of(path)
    size = wal.stat().st_size if wal.exists() else 0
    if size > MANY_WAL_BYTES:
        yield warning(
            f"{wal} has {size // 1024**2} MB, so something reads one old state of the database",
            "end the programs that have the database open, and start the gateway again",
        )
    if path.stat().st_size and _journal(path) != WAL:
        yield warning(f"{path} has no write-ahead log; the next start turns it on", "gateway serve")
    if not blocked:
        yield ok(f"{path} answers, and has {path.stat().st_size / 1024**2:.1f} MB")


def _journal(path: Path) -> int:
    """Return the number for the kind of journal: SQLite's file format, §1.3.3."""
    with path.open("rb") as file:
        return file.read(20)[19]


class _Server(NamedTuple):
    """What a server of PostgreSQL says of itself."""

    version: str
    encoding: str
    in_recovery: bool
    read_only: bool
    may_create: bool
    connections: int
    most_connections: int
    bytes: int
    clock_ahead: float


def _server(connection: Connection) -> _Server:
    def one(sql: str) -> Any:
        return connection.exec_driver_sql(sql).scalar_one()

    began = time.time()
    theirs = float(one("SELECT extract(epoch FROM clock_timestamp())"))
    return _Server(
        str(one("SHOW server_version")),
        str(one("SHOW server_encoding")),
        bool(one("SELECT pg_is_in_recovery()")),
        one("SHOW default_transaction_read_only") == "on",
        bool(one("SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)")),
        int(one("SELECT count(*) FROM pg_stat_activity")),
        int(one("SHOW max_connections")),
        int(one("SELECT pg_database_size(current_database())")),
        theirs - (began + time.time()) / 2,
    )


def _postgresql(place: str, server: _Server) -> Iterator[Finding]:
    if server.encoding != "UTF8":
        yield problem(f"{place} is in {server.encoding}", "createdb --encoding=UTF8 --template=template0 NAME")
    if server.in_recovery:
        yield problem(f"{place} is a standby, and takes no writes", "GATEWAY_DATABASE_URL=…  # name the primary")
    if server.read_only:
        yield problem(f"{place} is read-only by default", "ALTER DATABASE … SET default_transaction_read_only = off;")
    if not server.may_create:
        yield warning(
            f"the user of {place} may not make tables, as an upgrade has to",
            "GRANT USAGE, CREATE ON SCHEMA public TO …;",
        )
    if server.connections > 0.9 * server.most_connections:
        yield warning(
            f"{server.connections} of {server.most_connections} connections of {place} are taken",
            "max_connections = …  # in postgresql.conf",
        )
    yield from clock_difference(server.clock_ahead, "PostgreSQL")
    yield ok(f"PostgreSQL {server.version} at {place} answers, and has {server.bytes / 1024**2:.0f} MB")
