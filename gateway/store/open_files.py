"""Watches the files that SQLite has open, since they may be deleted or replaced.

SQLite would continue to write to such a file, and all of that would be lost at the end of the process.
"""

import os
import sqlite3
from pathlib import Path

MIN_FREE_BYTES = 1024 * 1024
"""With less free space on its disk, a database soon refuses writes: only small ones still fit."""


class OpenFiles:
    """A database's file and its write-ahead log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: dict[str, tuple[int, int]] = {}

    def remember(self) -> None:
        """Remember which files are open. A connection must be open, because closing the last one removes the log."""
        names = (str(self._path), f"{self._path}-wal")
        self._opened = {name: _identity(name) for name in names if os.path.exists(name)}

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the database and of its write-ahead log, so far as they are there."""
        files = {"database": str(self._path), "log": f"{self._path}-wal"}
        return {name: os.stat(path).st_size for name, path in files.items() if os.path.exists(path)}

    def check(self) -> None:
        """Raise `sqlite3.OperationalError` if an open file is no longer at its path."""
        for name, opened in self._opened.items():
            try:
                found = _identity(name)
            except OSError:
                raise sqlite3.OperationalError(f"{name} was deleted while it was open; restart the gateway") from None
            if found != opened:
                raise sqlite3.OperationalError(f"{name} was replaced while it was open; restart the gateway")

    def check_space(self) -> None:
        """Raise `sqlite3.OperationalError` if the disk is nearly full."""
        if not self._opened:
            return
        disk = os.statvfs(self._path)
        if disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
            raise sqlite3.OperationalError(f"less than {MIN_FREE_BYTES // 1024} KiB are free where {self._path} is")


def _identity(name: str) -> tuple[int, int]:
    found = os.stat(name)
    return found.st_dev, found.st_ino
