"""`gateway serve` with a look inside: a thread writes how many tasks, timers and objects its process has.

It is run as a program: `python watched.py FILE SECONDS serve …`. The file has one line of JSON. Because of `HURRIED`,
work that the gateway does each hour comes every ten seconds, so that its effect is within the time of a proof.
"""

import asyncio
import gc
import importlib
import json
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from uvloop.loop import TimerHandle as UvloopTimerHandle  # type: ignore[attr-defined]

from gateway.cli import main
from proofs.objects import count_by_class

HURRIED = (
    ("gateway.rooms.retention", "SWEEP_SECONDS", 10),
    ("gateway.connections.revocations", "PRUNE_SECONDS", 10),
    ("gateway.connections.revocations", "KEEP_MILLISECONDS", 60_000),
)
"""Constants of the watched process that are not the gateway's own: an hour, an hour and a day otherwise."""

TASKS = (asyncio.Task,)
TIMERS = (asyncio.TimerHandle, UvloopTimerHandle)


@dataclass(frozen=True)
class Inside:
    """What a process has in it."""

    tasks: int
    timers: int
    objects: int


def look() -> Inside:
    """Count what this process has: its tasks, its timers and all objects.

    Garbage is collected first. The gateway lets some of it lie for a quarter of an hour, and that is no leak.
    """
    gc.collect()
    counts = count_by_class()
    tasks, timers = [sum(counts[id(each)] for each in kind) for kind in (TASKS, TIMERS)]
    return Inside(tasks, timers, counts.total())


def newest(file: Path) -> Inside | None:
    """Return the last look that a watched process has written down."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return Inside(**json.loads(lines[-1])) if lines else None


def _watch(file: Path, seconds: float) -> None:
    while True:
        time.sleep(seconds)
        line = json.dumps(vars(look()))
        # Written as a whole, under another name first: a reader may look at any moment.
        new = file.with_suffix(".new")
        new.write_text(f"{line}\n", encoding="utf-8")
        new.replace(file)


def _run() -> None:
    file, seconds, *arguments = sys.argv[1:]
    for module, name, value in HURRIED:
        setattr(importlib.import_module(module), name, value)
    threading.Thread(target=_watch, args=(Path(file), float(seconds)), daemon=True).start()
    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    _run()
