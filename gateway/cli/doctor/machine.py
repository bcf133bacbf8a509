"""The machine: its clock, its descriptors, its memory and its disk."""

import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from gateway.cli.doctor.findings import Finding, ok, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.core.descriptors import MOST, RESERVED

OLDEST_MOMENT = 1764547200
"""The end of November 2025. No machine with a right clock runs this version at an earlier time."""

STEP_SECONDS = 0.05
"""How far the wall clock may move against the steady one while the check looks at both."""

LOOK_SECONDS = 0.3

FEW_CONNECTIONS, SOME_CONNECTIONS = 900, 10_000
CONNECTION_BYTES = 24 * 1024
"""What an idle connection takes at most, as docs/reliability.md has it measured."""
PROCESS_BYTES = 150 * 1024**2
"""What a process takes before its first connection."""

LOW_BYTES, FEW_BYTES = 100 * 1024**2, 1024**3
LOW_INODES = 1000

CLOCK_WARNING_SECONDS = 1.0
CLOCK_PROBLEM_SECONDS = 10.0
"""Nodes with clocks that are further apart refuse each other's tokens."""


def clock(subject: Subject) -> Iterator[Finding]:
    """Check that the clock is about right and that nothing sets it back and forth."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(LOOK_SECONDS)
    step = (time.time() - wall) - (time.monotonic() - steady)
    if wall < OLDEST_MOMENT:
        day = time.strftime("%Y-%m-%d", time.gmtime(wall))
        yield problem(
            f"this machine's clock says {day}, so tokens seem to be from the future", "timedatectl set-ntp true"
        )
    elif abs(step) > STEP_SECONDS:
        yield warning(f"the clock was moved by {step:.2f} s while the check looked at it", "timedatectl set-ntp true")
    else:
        yield ok("the clock runs evenly")


def clock_difference(ahead: float, owner: str) -> Iterator[Finding]:
    """Check how far another clock is ahead of this machine's."""
    if abs(ahead) >= CLOCK_WARNING_SECONDS:
        how = problem if abs(ahead) >= CLOCK_PROBLEM_SECONDS else warning
        direction = "ahead of" if ahead > 0 else "behind"
        yield how(
            f"the clock of {owner} is {abs(ahead):.1f} s {direction} this machine's",
            "timedatectl set-ntp true  # on both",
        )


def descriptors(subject: Subject) -> Iterator[Finding]:
    """Check how many connections fit into a process. `gateway serve` raises the soft limit to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    fits = most - min(RESERVED, most // 2)
    change = "LimitNOFILE=1048576  # in the unit; with Docker --ulimit nofile=1048576, in a shell ulimit -n"
    if fits < FEW_CONNECTIONS:
        yield problem(f"a process may open {most} files, so {fits} connections fit", change)
    elif fits < SOME_CONNECTIONS:
        yield warning(f"a process may open {most} files, so {fits} connections fit", change)
    else:
        yield ok(f"a process may open {most} files (now {soft}), so {fits} connections fit")


def memory(subject: Subject) -> Iterator[Finding]:
    """Check that what the settings allow fits into the memory."""
    settings = subject.settings
    limit = memory_limit()
    shared = settings.bus_queue_bytes if settings.bus_url != "memory://" else 0
    fixed = PROCESS_BYTES + settings.room_memory_bytes + shared
    connections = (limit - fixed) // CONNECTION_BYTES
    if fixed > limit:
        yield problem(
            f"rooms and the bus may take {fixed // 1024**2} MB, and this machine has {limit // 1024**2} MB",
            f"GATEWAY_ROOM_MEMORY_BYTES={max(0, limit // 4)}",
        )
    elif connections < FEW_CONNECTIONS:
        yield warning(
            f"of {limit // 1024**2} MB, only {connections} idle connections find room beside what rooms may take",
            f"GATEWAY_ROOM_MEMORY_BYTES={settings.room_memory_bytes // 4}",
        )
    elif settings.outbox_bytes * 100 > limit:
        yield warning(
            f"100 clients that do not read may take {settings.outbox_bytes * 100 // 1024**2} MB"
            f" of {limit // 1024**2} MB",
            "GATEWAY_OUTBOX_BYTES=1048576",
        )
    else:
        yield ok(f"{limit // 1024**2} MB are enough for rooms and about {connections} idle connections")


def memory_limit() -> int:
    """Return the bytes that this process may take: the memory of its container, or of the machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            text = file.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            return min(machine, int(text))
    return machine


def disk(subject: Subject) -> Iterator[Finding]:
    """Check the free space of the data folder."""
    folder = subject.settings.data_dir.absolute()
    place = next(each for each in (folder, *folder.parents) if each.exists())
    usage, files = shutil.disk_usage(place), os.statvfs(place)
    free = f"{usage.free / 1024**3:.1f} GB of {usage.total / 1024**3:.1f} GB are free at {folder}"
    change = f"remove files there, or name another disk: GATEWAY_DATA_DIR=…  # {folder}"
    if usage.free < LOW_BYTES:
        yield problem(free, change)
    elif usage.free < FEW_BYTES:
        yield warning(free, change)
    else:
        yield ok(free)
    if files.f_files and files.f_favail < LOW_INODES:
        yield problem(f"only {files.f_favail} more files fit at {folder}", change)
