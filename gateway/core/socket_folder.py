"""The folder `run` in a data folder: one Unix socket for each process that serves from there.

Only the owner of the folder and root can enter it. A socket whose process has died refuses connections, and the next
process that starts removes it. Its name does not decide that: containers that share a folder have the same pids.
"""

import asyncio
import errno
import itertools
import os
import re
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from gateway.core.file_lock import FileLock

FOLDER = "run"
LOCK_NAME = "start.lock"
MAX_ADDRESS_BYTES = 103
"""The longest address of a socket that all systems take."""
MAX_NAMES = 1000
"""Processes with the same pid, each in a container of its own."""
BACKLOG = 64
LOCK_SECONDS = 2.0
"""How long to wait for another process that starts. One that hangs must not keep this one from its start."""
AGAIN_SECONDS = 0.02
_DEAD = frozenset({errno.ECONNREFUSED, errno.ENOENT})


def sockets_in(data_dir: Path) -> list[Path]:
    """Return the sockets of the processes that serve from a data folder, by pid.

    Raise `PermissionError` if this user may not look.
    """
    return [path for path in _all_in(data_dir / FOLDER) if not _is_dead(path)]


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Yield an address for `bind` and `connect`, which is short enough for every path.

    Raise `OSError` for a long path on a system without `/proc`.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def bind_in(data_dir: Path) -> tuple[socket.socket, Path]:
    """Return a listening socket for this process, and its path. Raise `OSError` if there can be none."""
    folder = data_dir / FOLDER
    _make_private(folder)
    async with _alone(folder) as is_alone:
        if is_alone:
            _remove_dead(folder)
        return _bind_in(folder)


def _all_in(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(filter(_is_name, names), key=_numbers)]


def _is_name(name: str) -> bool:
    return re.fullmatch(r"\d+(-\d+)?\.sock", name, re.ASCII) is not None


def _numbers(name: str) -> list[int]:
    return [int(number) for number in name.removesuffix(".sock").split("-")]


def _is_dead(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            with address_of(path) as address:
                sock.connect(address)
        except OSError as error:  # a process that hangs has a full queue, which is EAGAIN
            return error.errno in _DEAD
    return False


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise PermissionError(errno.EPERM, "the folder belongs to another user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[bool]:
    """Keep other processes from their start meanwhile. Yield whether that succeeded within some time."""
    with FileLock(folder / LOCK_NAME) as lock:
        is_alone = lock.acquire(shared=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(LOCK_SECONDS):
                while not is_alone:
                    await asyncio.sleep(AGAIN_SECONDS)
                    is_alone = lock.acquire(shared=False)
        yield is_alone


def _remove_dead(folder: Path) -> None:
    for path in filter(_is_dead, _all_in(folder)):
        path.unlink(missing_ok=True)


def _bind_in(folder: Path) -> tuple[socket.socket, Path]:
    for number in itertools.count(1):
        path = folder / (f"{os.getpid()}.sock" if number == 1 else f"{os.getpid()}-{number}.sock")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _bind(sock, path)
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE or number == MAX_NAMES:
                raise
        else:
            return sock, path
    raise AssertionError


def _bind(sock: socket.socket, path: Path) -> None:
    sock.setblocking(False)
    with address_of(path) as address:
        sock.bind(address)
    path.chmod(0o600)
    sock.listen(BACKLOG)
