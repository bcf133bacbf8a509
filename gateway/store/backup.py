"""Copies a SQLite database while it is in use, and replaces one that is not in use.

A copy is first complete, checked and on the disk, under a temporary name beside its target. Only then it gets its name.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from gateway.core.file_lock import FileLock
from gateway.core.start_error import StartError, check_writable
from gateway.store import sqlite_file
from gateway.store.sqlite_file import COMPANIONS, LOCK

Result = TypeVar("Result")


def back_up(database: Path, file: Path, *, replace: bool) -> None:
    """Copy a database, as it is at one moment. It may be in use. Raise `StartError` for any problem."""
    _check_target(database, file, replace=replace)
    with _in_use(database, shared=True), _draft_of(file) as draft:
        _copy(database, draft)
        if replace:
            for each in sqlite_file.companions(file):
                each.unlink(missing_ok=True)
            draft.replace(file)
        else:
            _link(draft, file)
        _sync(file.parent)


def restore(backup: Path, database: Path, change: Callable[[Path], Result]) -> tuple[Result, Path | None]:
    """Replace a database that is not in use by a copy of a backup, after `change` was applied to the copy.

    Return the result of `change`, and where the previous database is. After a `StartError`, nothing has changed.
    """
    _check_backup(backup)
    with _in_use(database, shared=False), _draft_of(database) as draft:
        _copy(backup, draft)
        changed = change(draft)
        _settle(draft)
        kept = _set_aside(database)
        draft.replace(database)
        _sync(database.parent)
    return changed, kept


def _check_backup(file: Path) -> None:
    try:
        problem = "" if sqlite_file.check(_existing(file)) is not None else "it has no tables of the gateway"
    except StartError as error:
        problem = str(error).partition("; ")[0]  # the second part advises about a store, not about a backup
    if problem:
        raise StartError(f"cannot restore {file}: {problem}; name a file of: gateway db backup FILE")


@contextmanager
def unused(database: Path) -> Iterator[None]:
    """Check that no gateway uses a database, or raise `StartError`."""
    with _in_use(database, shared=False):
        yield


@contextmanager
def _in_use(database: Path, *, shared: bool) -> Iterator[None]:
    with FileLock(database.with_name(database.name + LOCK)) as lock:
        if not lock.acquire(shared=shared):
            state = "is being restored; wait until that is done" if shared else "is in use; stop the gateway first"
            raise StartError(f"{database} {state}")
        yield


@contextmanager
def _draft_of(file: Path) -> Iterator[Path]:
    """Make a private temporary file beside another one. It is removed at the end, if it still has that name."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        sqlite_file.make_private(draft)
        yield draft
    except OSError as error:
        raise StartError(f"cannot write beside {file} ({error.strerror})") from None
    except sqlite3.Error as error:
        raise StartError(f"cannot write a copy beside {file}: {error}") from None
    finally:
        for each in (draft, *_beside(draft)):
            each.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a database with its log, without a delay for its writers."""
    uri = f"{_existing(source).absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=sqlite_file.BUSY_SECONDS)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
    _settle(target)


def _settle(file: Path) -> None:
    """Move all of a database into its one file, on the disk, or raise `StartError` if it is damaged."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = DELETE").fetchone()
        [found] = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StartError(f"the copy is damaged ({' '.join(found.split())}); use another backup")
    _sync(file)


def _set_aside(database: Path) -> Path | None:
    """Keep a database under a second name, and leave it under its own. Only its companion files move."""
    if not database.exists():
        return None
    kept = database.with_name(f"{database.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    _take_in_log(database)
    _link(database, kept)
    for ending in COMPANIONS:
        beside = database.with_name(database.name + ending)
        if beside.exists():
            beside.rename(kept.with_name(kept.name + ending))
    return kept


def _take_in_log(database: Path) -> None:
    """Move all of a sound database into its file. Raise `StartError` if another program has it open."""
    try:
        with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as old:
            old.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise StartError(f"another program has {database} open; end it first") from None
    except sqlite3.DatabaseError:
        pass  # it is damaged, and is kept as it is


def _link(file: Path, name: Path) -> None:
    """Link a file to a second name, which must be free."""
    try:
        os.link(file, name)
    except FileExistsError:
        raise _exists(name) from None


def _check_target(database: Path, file: Path, *, replace: bool) -> None:
    if sqlite_file.check(_existing(database)) is None:
        raise StartError(f"{database} has no tables of the gateway yet")
    live = Path(os.path.realpath(database))
    if Path(os.path.realpath(file)) in [live, *_beside(live)]:
        raise StartError(f"{file} belongs to the database itself; name another file")
    if file.exists() and not replace:
        raise _exists(file)
    if file.exists() and not _may_be_replaced(file):
        raise StartError(f"{file} is not a SQLite database; name a backup to replace, or another file")
    check_writable(file)


def _beside(database: Path) -> list[Path]:
    """Return the files beside a database. SQLite would take a backup with such a name for the database's log."""
    return [database.with_name(database.name + ending) for ending in (LOCK, *COMPANIONS)]


def _may_be_replaced(file: Path) -> bool:
    """Return whether a file is a backup, or empty, so that a mistyped name destroys no other file."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(_HEADER)) in (b"", _HEADER)


_HEADER = b"SQLite format 3\0"


def _exists(file: Path) -> StartError:
    return StartError(f"{file} exists already; name another file, or add --replace to replace a backup")


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise StartError(f"there is no database {file}")
    return file


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
