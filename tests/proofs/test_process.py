"""What the proofs know of a process is its own."""

import mmap
import os
from pathlib import Path

import pytest

from proofs.process import memory_kb

MEGABYTES = 32


def test_the_memory_of_a_process_has_what_it_holds() -> None:
    before = memory_kb(os.getpid())
    with mmap.mmap(-1, MEGABYTES * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"x" * len(held))
        assert memory_kb(os.getpid()) - before > 0.9 * len(held) / 1024


@pytest.mark.parametrize("access", [mmap.MAP_SHARED, mmap.MAP_PRIVATE])
def test_the_memory_of_a_process_has_no_pages_of_files(tmp_path: Path, access: int) -> None:
    file = tmp_path / "library"
    file.write_bytes(b"x" * (MEGABYTES * 2**20))
    before = memory_kb(os.getpid())
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, flags=access, prot=mmap.PROT_READ) as pages:
        assert pages.find(b"y") == -1  # which reads all of them
        assert memory_kb(os.getpid()) - before < 1024
