"""`gateway serve` with a look inside: a thread writes how many tasks, timers and objects its process has.

It is run as a program: `python watched.py FILE SECONDS serve …`. The file has one line of JSON. Because of `HURRIED`,
work that the gateway does each hour comes every ten seconds, so that its effect is within the time of a proof.
"""

import asyncio
import gc
import importlib
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from uvloop.loop import TimerHandle as UvloopTimerHandle  # type: ignore[attr-defined]

from gateway.cli import main
from proofs.objects import count_by_class
from proofs.process import memory_kb

HURRIED = (
    ("gateway.rooms.retention", "SWEEP_SECONDS", 10),
    ("gateway.connections.revocations", "PRUNE_SECONDS", 10),
    ("gateway.connections.revocations", "KEEP_MILLISECONDS", 60_000),
)
"""Constants of the watched process that are not the gateway's own: an hour, an hour and a day otherwise."""

TASKS = (asyncio.Task,)
TIMERS = (asyncio.TimerHandle, UvloopTimerHandle)

LEAST_STALE_SECONDS = 15.0
"""A busy machine may let a look wait for so long."""


@dataclass(frozen=True)
class Inside:
    """What a process has in it."""

    at: float
    """The time of the look, on the clock that all processes share (`time.monotonic`)."""
    tasks: int
    timers: int
    objects: int
    memory_kb: int


@dataclass(frozen=True)
class Looks:
    """The newest look, and the last one that came right after the gateway's own collector: there is little garbage."""

    seconds: float
    """The time between two looks."""
    last: Inside
    settled: Inside | None = None

    @property
    def is_stale(self) -> bool:
        """Return whether the process looks inside itself no longer."""
        return time.monotonic() - self.last.at > max(3 * self.seconds, LEAST_STALE_SECONDS)


def look() -> Inside:
    """Count what this process has: its tasks, its timers and all objects.

    Garbage counts too. It is the gateway's own task to collect it.
    """
    counts = count_by_class()
    tasks, timers = [sum(counts[id(each)] for each in kind) for kind in (TASKS, TIMERS)]
    return Inside(time.monotonic(), tasks, timers, counts.total(), memory_kb(os.getpid()))


def newest(file: Path) -> Looks | None:
    """Return the last looks that a watched process has written down, or raise `RuntimeError` if they are old."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if not lines:
        return None
    values = json.loads(lines[-1])
    settled = values["settled"]
    looks = Looks(values["seconds"], Inside(**values["last"]), None if settled is None else Inside(**settled))
    if looks.is_stale:
        raise RuntimeError(f"the gateway does not look inside itself any more; see its log, next to {file}")
    return looks


def _watch(file: Path, seconds: float) -> None:
    collected = threading.Event()
    gc.callbacks.append(partial(_note_turn, collected))
    settled = None
    while True:
        is_settled = collected.wait(seconds)
        collected.clear()
        last = look()
        settled = last if is_settled else settled
        line = json.dumps(asdict(Looks(seconds, last, settled)))
        # Written as a whole, under another name first: a reader may look at any moment.
        new = file.with_suffix(".new")
        new.write_text(f"{line}\n", encoding="utf-8")
        new.replace(file)


def _note_turn(collected: threading.Event, phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] > 0:  # the turns for the youngest objects leave garbage behind
        collected.set()


def _run() -> None:
    file, seconds, *arguments = sys.argv[1:]
    for module, name, value in HURRIED:
        setattr(importlib.import_module(module), name, value)
    threading.Thread(target=_watch, args=(Path(file), float(seconds)), daemon=True).start()
    sys.argv[1:] = arguments
    main()


if __name__ == "__main__":
    _run()
