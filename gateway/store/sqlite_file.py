"""The file of a SQLite database: where it is, which accounts may read it, and whether it is the gateway's.

The file is never opened but by SQLite. POSIX locks belong to a process and a file: closing any other descriptor of the
file would take the locks of SQLite away (https://sqlite.org/howtocorrupt.html, section 2.2).
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
"""For the owner alone: the file has messages and hashes of passwords."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database. It makes them with the mode of the database."""

LOCK = ".lock"
"""What is held while a database is in use, so that none is put in its place meanwhile."""

BUSY_SECONDS = 5
"""How long to wait for another that has the file locked."""

LOOKED_THROUGH = 64 * 1024 * 1024
"""Files up to this size are looked through at every start, which takes at most some 50 ms."""

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class SqliteFile:
    """The file of one database, and the lock that says that it is in use."""

    def __init__(self, url: str) -> None:
        """`url` is of a file, or raises `StartError`."""
        self.path = path_of(url)
        self._lock = FileLock(self.path.with_name(self.path.name + LOCK))
        self._is_open = False

    def open(self) -> None:
        """Make the file ready for SQLite, and hold it until `close`; raises `StartError` in one line."""
        if not self._is_open:
            _check_access(self.path)
            if not self._lock.acquire(shared=True):
                raise StartError(f"{self.path} is being restored from a backup; wait until that is done")
            self._is_open = True
            prepare(self.path)

    def close(self) -> None:
        """Let go of the file."""
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
        # In memory, each connection would have a database of its own.
        raise StartError(
            "GATEWAY_DATABASE_URL: expected the path of a file and nothing after it, such as"
            " sqlite:////var/lib/gateway/gateway.db; a database in memory is not possible"
        )
    return Path(path)


def prepare(path: Path) -> None:
    """Make a file that only its owner reads, or make sure that an existing one is the gateway's and private."""
    make_private(path)
    if path.stat().st_size:
        check(path)
    for each in (path, *companions(path)):
        _narrow(each)


def make_private(path: Path) -> None:
    """Make an empty file that only its owner reads, if there is none: what SQLite makes, all may read."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE))
        path.chmod(PRIVATE)  # a umask may have taken even that away


def companions(path: Path) -> list[Path]:
    """Return where SQLite keeps what belongs to a database."""
    return [path.with_name(path.name + ending) for ending in COMPANIONS]


def check(path: Path) -> str | None:
    """Return the revision of the gateway's tables in a file, and change nothing; raises `StartError`."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _read(path)
        except DBAPIError as error:
            code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_READONLY:
                return None  # its last writer has died, and the next one mends it before it looks
            # As with the write-ahead log, SQLite does not always wait by itself.
            if code not in _BUSY or time.monotonic() > deadline:
                raise _refusal(path, code, error) from None
        time.sleep(0.005)


def _read(path: Path) -> str | None:
    engine = create_engine(
        "sqlite+pysqlite://",
        creator=lambda: sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS),
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
            f"{path} is no SQLite database, or an encrypted one; name another in GATEWAY_DATABASE_URL, or move it away"
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return _damaged(path, str(error.orig))
    return StartError(f"cannot open the database {path}: {error.orig}")


def _damaged(path: Path, problem: str) -> StartError:
    return StartError(f"{path} is damaged ({' '.join(problem.split())}); restore a backup: gateway db restore FILE")


def _check_access(path: Path) -> None:
    if os.path.isdir(path):  # unlike `Path.is_dir`, false where one may not look
        raise StartError(f"{path} is a folder, and the database is a file; name a file in GATEWAY_DATABASE_URL")
    for each in (path, path.parent / ".", *companions(path), path.with_name(path.name + LOCK)):
        check_writable(each)


def _narrow(path: Path) -> None:
    """Take the file from all but its owner. One that another owns, such as a group's, stays as it is."""
    with suppress(FileNotFoundError, PermissionError):
        if path.stat().st_mode & 0o077:
            path.chmod(PRIVATE)
