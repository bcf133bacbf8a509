"""Disks that fill up, take no writes, fail or lose their power, below a node on SQLite.

A full disk is a real one, of a few MB. So is the one that loses its power: what was not synced is gone. The errors of
the others come from `faulty_disk.c`, which fails the calls of the gateway itself: the system's own way to do that, a
device mapper, is missing on many machines.
"""

import asyncio
import errno
import os
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig import Server, temporary_folder
from proofs.faults.fault import Fault, Place
from proofs.faults.site import ON_THE_WAY, Node, Site, running_nodes
from tests.support.disk import PoweredDisk, SmallDisk, powered_disk, small_disk
from tests.support.lacking import Unavailable

SOURCE = Path(__file__).with_name("faulty_disk.c")
SWITCH = struct.Struct("6i")
DISK_MIB = 32
ALWAYS = 1000
SOMETIMES = 200
"""How many of 1,000 calls fail."""

SHORT_CUTS, FULL_CUTS = 3, 50
"""How often the power fails."""


@dataclass
class Disk(Site):
    """A node on SQLite, on a small disk that can fail."""

    disk: SmallDisk
    switch: Path

    def fail(self, *, read: int = 0, write: int = 0, sync: int = 0, truncate: int = 0, of_1000: int = ALWAYS) -> None:
        """Let calls fail with these error numbers, 0 for none, and count them anew."""
        with self.switch.open("r+b") as file:
            file.write(SWITCH.pack(read, write, sync, truncate, of_1000, 0))

    @property
    def failed(self) -> int:
        """Return how many calls have failed since."""
        return int(SWITCH.unpack(self.switch.read_bytes())[-1])


@asynccontextmanager
async def on_a_disk(faults: Sequence[str]) -> AsyncIterator[Disk]:
    """Start a node whose disk can fail."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        place = folder / "disk"
        place.mkdir()
        disk = stack.enter_context(small_disk(place, DISK_MIB))
        switch = folder / "switch"
        switch.write_bytes(SWITCH.pack(0, 0, 0, 0, 0, 0))
        library = await asyncio.to_thread(compiled, folder)
        server = _server(folder, place)
        server.environment |= {
            "LD_PRELOAD": str(library),
            "FAULTY_DISK": f"{place}{os.sep}",
            "FAULTY_DISK_SWITCH": str(switch),
        }
        async with running_nodes([server], _url(place), faults) as site:
            yield Disk(site.nodes, site.url, site.people, site.prober, disk, switch)


def _server(folder: Path, place: Path) -> Server:
    # The log of the node is elsewhere, so that it can say what is wrong.
    return Server(folder, _url(place), GATEWAY_DATA_DIR=str(place))


def _url(place: Path) -> str:
    return f"sqlite:///{place / 'gateway.db'}"


def compiled(folder: Path) -> Path:
    """Compile the library of faults into a folder, or raise `Unavailable`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable("needs a compiler of C: install the packages gcc and libc6-dev")
    library = folder / "faulty_disk.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own file
    if done.returncode:
        raise Unavailable(f"needs a compiler of C that works: {done.stderr.strip()}")
    return library


async def _fill(site: Disk) -> None:
    await asyncio.to_thread(site.disk.fill)


async def _make_room(site: Disk) -> None:
    await asyncio.to_thread(site.disk.make_room)


def _failing(**errors: int) -> Callable[[Disk], Awaitable[None]]:
    async def fail(site: Disk) -> None:
        site.fail(**errors)

    return fail


async def _works(site: Disk) -> None:
    site.fail()


async def _no_call_failed(site: Disk) -> str:
    return "" if site.failed else "no call of the gateway has failed"


def _broken(name: str, about: str, fail: Callable[[Disk], Awaitable[None]], *, most: int | None = None) -> Fault[Disk]:
    """Return a fault of the library."""
    return Fault(name, about, fail, _works, most=most, doubt=_no_call_failed)


READ_ONLY = {"write": errno.EROFS, "sync": errno.EROFS, "truncate": errno.EROFS}
NO_SPACE = {"write": errno.ENOSPC, "sync": errno.ENOSPC}
BROKEN = {"read": errno.EIO, "write": errno.EIO, "sync": errno.EIO, "truncate": errno.EIO}

PLACE = Place(
    "disk",
    on_a_disk,
    [
        Fault("disk-full", "not one byte is free", _fill, _make_room, most=ON_THE_WAY),
        _broken("disk-no-space", "each write is cut in the middle: ENOSPC", _failing(**NO_SPACE), most=ON_THE_WAY),
        _broken("disk-read-only", "each write is refused: EROFS", _failing(**READ_ONLY), most=ON_THE_WAY),
        _broken("disk-write-errors", "each write fails: EIO", _failing(write=errno.EIO), most=ON_THE_WAY),
        _broken("disk-sync-errors", "each sync fails: EIO", _failing(sync=errno.EIO), most=ON_THE_WAY),
        _broken("disk-read-errors", "each read fails: EIO", _failing(read=errno.EIO)),
        _broken("disk-flaky", "one call of five fails: EIO", _failing(**BROKEN, of_1000=SOMETIMES)),
    ],
)


@dataclass
class Power(Site):
    """A node on SQLite, on a disk that can lose its power."""

    disk: PoweredDisk

    @property
    def node(self) -> Node:
        """Return the node."""
        return self.nodes[0]


@asynccontextmanager
async def with_power(faults: Sequence[str]) -> AsyncIterator[Power]:
    """Start a node on a disk of its own."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        place = folder / "disk"
        place.mkdir()
        disk = stack.enter_context(powered_disk(folder / "image", place))
        async with running_nodes([_server(folder, place)], _url(place), faults) as site:
            yield Power(site.nodes, site.url, site.people, site.prober, disk)


async def _cut_power(site: Power, cuts: float) -> None:
    """Cut the power some times: nothing reaches the disk any more, and the machine is gone.

    The process is stopped first. Otherwise it could still answer what the disk no longer gets: a sync on the way may
    end without an error although its file system is gone.
    """
    for _ in range(int(cuts)):
        await asyncio.sleep(1)
        site.node.pause()
        await asyncio.to_thread(site.disk.lose_power)
        await site.node.kill()
        await asyncio.to_thread(site.disk.unmount)
        await asyncio.to_thread(site.disk.mount)
        await site.node.start()


POWER = Place(
    "power",
    with_power,
    [
        Fault(
            "power-cuts",
            "what was not synced is gone, and the node starts again",
            cuts_clients=True,
            short=SHORT_CUTS,
            full=FULL_CUTS,
            happens_often=True,
            last=_cut_power,
        )
    ],
)
