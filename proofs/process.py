"""What the system knows of a process: memory, descriptors and threads. Linux only."""

import resource
from pathlib import Path

NEEDED_FILES = 30_000


def memory_kb(pid: int) -> int:
    """Return the memory of a process in KB that no file backs, with what of it is swapped out.

    The pages of libraries are left out: other processes that map the same files come and go, and move each figure with
    them, also that of the private pages.
    """
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    sizes = {line.split()[0]: line.split()[1] for line in rollup.splitlines()[1:]}
    return int(sizes["Anonymous:"]) + int(sizes["Swap:"])


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def raise_limit_of_files(wanted: int = NEEDED_FILES) -> int:
    """Let this process and its children open so many files, as far as the system allows, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        except ValueError:  # only root may raise the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
