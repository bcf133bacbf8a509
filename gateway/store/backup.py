"""Copies of a SQLite database: made while it is in use, and put in its place when it is not.

A copy is written whole beside its place, looked through, and on the disk before it gets its name.
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
    """Copy a database, as it is at one moment, while it may be in use; raises `StartError`."""
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
    """Put a copy of a backup in the place of a database that is not in use, after `change` was made to it.

    Returns what `change` does, and where the database is that was there before. Raises `StartError`, and has then
    changed nothing.
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
        problem = str(error).partition("; ")[0]  # what to do about it would be about a store
    if problem:
        raise StartError(f"cannot restore {file}: {problem}; name a file of: gateway db backup FILE")


@contextmanager
def unused(database: Path) -> Iterator[None]:
    """Make sure that no process of ours uses a database; raises `StartError`."""
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
    """Make a private file beside another, which is removed in the end where it has not got a name by then."""
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
    """Copy what a database holds, its log included, without keeping its writers waiting."""
    uri = f"{_existing(source).absolute().as_uri()}?mode=ro"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=sqlite_file.BUSY_SECONDS)) as reading,
        closing(sqlite3.connect(target)) as writing,
    ):
        reading.backup(writing)
    _settle(target)


def _settle(file: Path) -> None:
    """Have all of a database in its one file, on the disk; raises `StartError` if it is damaged."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = DELETE").fetchone()
        [found] = database.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise StartError(f"the copy is damaged ({' '.join(found.split())}); name another backup")
    _sync(file)


def _set_aside(database: Path) -> Path | None:
    """Keep a database under another name, and leave it in its place; only what belongs to it goes from there."""
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
    """Have the whole of a database in its file, if it is sound; raises `StartError` if another program has it open."""
    try:
        with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as old:
            old.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise StartError(f"another program has {database} open; end it first") from None
    except sqlite3.DatabaseError:
        pass  # it is damaged, and kept as it is


def _link(file: Path, name: Path) -> None:
    """Link a file to a further name, which must be free."""
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
        raise StartError(f"{file} is no SQLite database; name a backup to replace, or another file")
    check_writable(file)


def _beside(database: Path) -> list[Path]:
    """Return what belongs to a database: a backup in one of these places would be taken for its log."""
    return [database.with_name(database.name + ending) for ending in (LOCK, *COMPANIONS)]


def _may_be_replaced(file: Path) -> bool:
    """Return whether a file is a backup, or empty: a slip in its name costs no log and no key."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        return opened.read(len(_HEADER)) in (b"", _HEADER)


_HEADER = b"SQLite format 3\0"


def _exists(file: Path) -> StartError:
    return StartError(f"{file} exists already; name another file, or write --replace for a backup that may go")


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
