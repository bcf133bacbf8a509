"""A lock on a file. The system releases it even when its process is killed."""

import os
import sys
from pathlib import Path
from typing import Self

from gateway.core.start_error import StartError

if sys.platform != "win32":
    import fcntl


class FileLock:
    """A lock that one process holds alone, or that several share. The file stays empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, shared: bool) -> bool:
        """Acquire the lock, and return whether it was free. Raise `StartError` if its file cannot be made."""
        if sys.platform == "win32":
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(f"cannot open {self._path} ({error.strerror}); make it writable") from None
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
