"""Disks of this machine's own: a small one in memory that fills up, and one in a file that loses its power."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.lacking import Unavailable

WAIT_SECONDS = 20

SHUTDOWN = 0x8004587D
"""The number of the ioctl EXT4_IOC_SHUTDOWN: from then on, nothing reaches the disk."""

WITHOUT_FLUSH = 2
"""Its argument: what is in memory, of the journal too, is lost."""


class SmallDisk:
    """A separate disk of a few MB, which can be full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no free byte."""
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(512))

    def make_room(self) -> None:
        """Free some bytes again."""
        self._ballast.unlink(missing_ok=True)


class PoweredDisk:
    """A disk with ext4, in a file, which can lose its power: then all is gone that was not synced."""

    def __init__(self, file: Path, folder: Path, mib: int) -> None:
        self.folder = folder
        self._file = file
        with file.open("wb") as image:
            image.truncate(mib * 2**20)
        _run("mkfs.ext4", "-q", "-F", str(file))

    def mount(self) -> None:
        """Switch it on. The file system repairs itself from its journal."""
        _run("mount", "-o", "loop", str(self._file), str(self.folder))

    def lose_power(self) -> None:
        """Let nothing reach the disk from now on, also of what the system would write later."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", WITHOUT_FLUSH))
        finally:
            os.close(folder)

    def unmount(self) -> None:
        """Take it away, after all processes have closed its files."""
        _run("umount", str(self.folder))


@contextmanager
def small_disk(folder: Path, mib: int = 4) -> Iterator[SmallDisk]:
    """Mount a small disk on a folder, or raise `Unavailable`."""
    _run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", str(folder))


@contextmanager
def powered_disk(file: Path, folder: Path, mib: int = 64) -> Iterator[PoweredDisk]:
    """Make and mount a disk in a file on a folder, or raise `Unavailable`."""
    disk = PoweredDisk(file, folder, mib)
    disk.mount()
    try:
        yield disk
    finally:
        with suppress(Unavailable):
            disk.unmount()


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    except FileNotFoundError:
        raise Unavailable(f"needs the program {command[0]}") from None
    if done.returncode:
        raise Unavailable(f"needs to mount disks, as root outside of most containers: {done.stderr.strip()}")
