"""The files that SQLite has open, and whether writing to them still makes sense.

SQLite goes on writing to a file that was deleted or replaced: all of that is lost when the process ends.
"""

import os
import sqlite3
from pathlib import Path

MIN_FREE_BYTES = 1024 * 1024
"""With less than this on its disk, a database is about to refuse writes: only small ones still find a place."""


class OpenFiles:
    """A database's file and its write-ahead log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: dict[str, tuple[int, int]] = {}

    def remember(self) -> None:
        """Note which files are open; a connection must be, since the last one that closes removes the log."""
        names = (str(self._path), f"{self._path}-wal")
        self._opened = {name: _identity(name) for name in names if os.path.exists(name)}

    def check(self) -> None:
        """Raise `sqlite3.OperationalError` if other files are at the paths of the open ones."""
        for name, opened in self._opened.items():
            try:
                found = _identity(name)
            except OSError:
                raise sqlite3.OperationalError(f"{name} was deleted while it was open; restart the gateway") from None
            if found != opened:
                raise sqlite3.OperationalError(f"{name} was replaced while it was open; restart the gateway")

    def check_space(self) -> None:
        """Raise `sqlite3.OperationalError` if the disk is full but for a little."""
        if not self._opened:
            return
        disk = os.statvfs(self._path)
        if disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
            raise sqlite3.OperationalError(f"less than {MIN_FREE_BYTES // 1024} KiB are free where {self._path} is")


def _identity(name: str) -> tuple[int, int]:
    found = os.stat(name)
    return found.st_dev, found.st_ino
