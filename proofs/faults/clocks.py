"""Clocks that are wrong, and that jump: libfaketime sets that of one of two nodes."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig import Server, StoreKind, store_url, temporary_folder
from proofs.faults.fault import Fault, Place
from proofs.faults.probe import clock_of
from proofs.faults.site import Site, running_nodes
from tests.support.lacking import Unavailable
from tests.support.valkey import running_valkey

SECONDS = 30
"""How far the clock is from the right time."""

JUMP_SECONDS = 0.5
OFF_SECONDS = 10
"""How much the node's time may differ from the one that was set: messages take some time on a busy machine."""


@dataclass
class Clocks(Site):
    """Two nodes, the first of which has the time that a file says."""

    clock: Path
    seconds: int = 0

    def set(self, seconds: int) -> None:
        """Set the clock of the first node so many seconds ahead of the right one."""
        self.seconds = seconds
        self.clock.write_text(f"{seconds:+d}s\n")


@asynccontextmanager
async def two_nodes(faults: Sequence[str]) -> AsyncIterator[Clocks]:
    """Start two nodes on PostgreSQL and Valkey, on this machine."""
    with ExitStack() as stack:
        folders = [stack.enter_context(temporary_folder()) for _ in "12"]
        clock = folders[0] / "clock"
        variables = crooked(clock)
        url = stack.enter_context(store_url(StoreKind.POSTGRES, folders[0]))
        bus = stack.enter_context(running_valkey())
        servers = [Server(folder, url, GATEWAY_BUS_URL=bus.url) for folder in folders]
        servers[0].environment |= variables
        clock.write_text("+0s\n")
        async with running_nodes(servers, url, faults) as site:
            yield Clocks(site.nodes, site.url, site.people, site.prober, clock)


def crooked(clock: Path) -> dict[str, str]:
    """Return the variables that give a process the time of a file, or raise `Unavailable`."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        raise Unavailable("needs the package libfaketime")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        # Machines set their clock of the day. The one that measures durations never jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


async def _ahead(site: Clocks) -> None:
    site.set(SECONDS)


async def _behind(site: Clocks) -> None:
    site.set(-SECONDS)


async def _right(site: Clocks) -> None:
    site.set(0)


async def _jump(site: Clocks, seconds: float) -> None:
    chance = random.Random(seconds)
    for _ in range(int(seconds / JUMP_SECONDS)):
        site.set(chance.randint(-SECONDS, SECONDS))
        await asyncio.sleep(JUMP_SECONDS)
    site.set(SECONDS)  # so that it shows


async def _other_time(site: Clocks) -> str:
    """Doubt the fault if the first node does not have the time of the file."""
    found = await clock_of(site, site.servers[0])
    if found is None or abs(found - site.seconds) > OFF_SECONDS:
        return f"its clock is {found} s ahead, and not {site.seconds}"
    return ""


async def _move_all(site: Clocks, seconds: float) -> None:
    """Kill the node with the right clock, so that all its users come to the one with the wrong clock."""
    await asyncio.sleep(seconds / 2)
    await site.nodes[1].kill()
    await asyncio.sleep(seconds / 2)
    await site.nodes[1].start()


PLACE = Place(
    "clocks",
    two_nodes,
    [
        Fault(
            "clock-ahead",
            f"a node's clock is {SECONDS} s ahead",
            _ahead,
            _right,
            cuts_clients=True,
            doubt=_other_time,
            last=_move_all,
        ),
        Fault(
            "clock-behind",
            f"a node's clock is {SECONDS} s behind",
            _behind,
            _right,
            cuts_clients=True,
            doubt=_other_time,
            last=_move_all,
        ),
        Fault(
            "clock-jumps",
            f"a node's clock jumps by up to {2 * SECONDS} s, twice a second",
            end=_right,
            doubt=_other_time,
            last=_jump,
        ),
    ],
)
