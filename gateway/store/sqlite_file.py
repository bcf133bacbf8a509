"""Checks the file of a SQLite database: its path, its permissions, and whether it is the gateway's.

Only SQLite ever opens the file. POSIX locks belong to a process and a file, so closing another descriptor of the file
would release SQLite's locks (https://sqlite.org/howtocorrupt.html, section 2.2).
"""

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from gateway.core.file_lock import FileLock
from gateway.core.start_error import StartError, check_writable
from gateway.store import versions

PRIVATE = 0o600
"""Only for the owner: the file contains messages and password hashes."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""The files that SQLite keeps beside a database. They get the database's permissions."""

LOCK = ".lock"
"""The lock that is held while a database is in use, so that it is not replaced meanwhile."""

BUSY_SECONDS = 5
"""How long to wait while another process has the file locked."""

LOOKED_THROUGH = 64 * 1024 * 1024
"""Files up to this size are checked completely at every start, which takes at most about 50 ms."""

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SqliteFile:
    """The file of one database, and the lock for its use."""

    def __init__(self, url: str) -> None:
        """Take the path of a `url`, or raise `StartError` if it has none."""
        self.path = path_of(url)
        self._lock = FileLock(self.path.with_name(self.path.name + LOCK))
        self._is_open = False

    def open(self) -> None:
        """Prepare the file for SQLite, and hold its lock until `close`. Raise `StartError` in one line."""
        if not self._is_open:
            _check_access(self.path)
            if not self._lock.acquire(shared=True):
                raise StartError(f"{self.path} is being restored from a backup; wait until that is done")
            self._is_open = True
            prepare(self.path)

    def close(self) -> None:
        """Release the file."""
        self._lock.release()
        self._is_open = False


def path_of(url: str) -> Path:
    """Return the path in a URL, or raise `StartError`."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    path = "" if parsed is None or parsed.query else parsed.database or ""
    if not Path(path).name or path.startswith((":memory:", "file:")):
        # In memory, each connection would have its own database.
        raise StartError(
            "GATEWAY_DATABASE_URL: expected the path of a file and nothing after it, such as"
            " sqlite:////var/lib/gateway/gateway.db; a database in memory is not possible"
        )
    return Path(path)


def prepare(path: Path) -> None:
    """Create a file that only its owner can read, or check that an existing one is the gateway's and private."""
    make_private(path)
    if path.stat().st_size:
        check(path)
    for each in (path, *companions(path)):
        _narrow(each)


def make_private(path: Path) -> None:
    """Create an empty file that only its owner can read, if it is missing: SQLite would make it readable for all."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))
        path.chmod(PRIVATE)  # a umask may have removed even these permissions


def companions(path: Path) -> list[Path]:
    """Return the paths of the files that SQLite keeps beside a database."""
    return [path.with_name(path.name + ending) for ending in COMPANIONS]


def check(path: Path, *, is_unused: bool = False) -> str | None:
    """Return the revision of the gateway's tables in a file, without any change, or raise `StartError`.

    Of a file that `is_unused`, nothing is made beside it either, such as the files of its write-ahead log.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _read(path, "?mode=ro&immutable=1" if is_unused else "?mode=ro")
        except DBAPIError as error:
            code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_READONLY:
                return None  # its last writer has died, and the next connection repairs it first
            # With the write-ahead log, SQLite does not always wait by itself.
            if code not in _BUSY or time.monotonic() > deadline:
                raise _refusal(path, code, error) from None
        time.sleep(0.005)


def _read(path: Path, how: str) -> str | None:
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: sqlite3.connect(f"{path.absolute().as_uri()}{how}", uri=True, timeout=BUSY_SECONDS),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        revision = versions.check(connection)
        if path.stat().st_size <= LOOKED_THROUGH:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if found != "ok":
                raise _damaged(path, found)
    return revision


def _refusal(path: Path, code: int, error: DBAPIError) -> StartError:
    if code == sqlite3.SQLITE_NOTADB:
        return StartError(
            f"{path} is not a SQLite database, or is encrypted; name another in GATEWAY_DATABASE_URL, or move it away"
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return _damaged(path, str(error.orig))
    return StartError(f"cannot open the database {path}: {error.orig}")


def _damaged(path: Path, problem: str) -> StartError:
    return StartError(f"{path} is damaged ({' '.join(problem.split())}); restore a backup: gateway db restore FILE")


def _check_access(path: Path) -> None:
    if os.path.isdir(path):  # unlike `Path.is_dir`, this is false without permission to look
        raise StartError(f"{path} is a folder, but the database must be a file; name one in GATEWAY_DATABASE_URL")
    for each in (path, path.parent / ".", *companions(path), path.with_name(path.name + LOCK)):
        check_writable(each)


def _narrow(path: Path) -> None:
    """Remove all permissions except the owner's. A file of another owner, such as a group's, stays as it is."""
    with suppress(FileNotFoundError, PermissionError):
        if path.stat().st_mode & 0o077:
            path.chmod(PRIVATE)
