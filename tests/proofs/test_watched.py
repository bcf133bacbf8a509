"""A soak looks inside its gateway, sees a leak through the saw-tooth of the collector, and notices a dead look."""

import asyncio
import gc
import json
import sys
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from proofs.soak.samples import MEMORY, OBJECTS, Samples
from proofs.watched import Inside, Looks, _note_turn, look, newest


class Cycle:
    def __init__(self) -> None:
        self.me = self


def inside(at: float, objects: int) -> Inside:
    return Inside(at, tasks=1, timers=1, objects=objects, memory_kb=objects)


def test_a_look_collects_no_garbage() -> None:
    gc.collect()
    gc.disable()
    try:
        Cycle()
        look()
        assert [each for each in gc.get_objects() if isinstance(each, Cycle)] != []
    finally:
        gc.enable()


def test_old_looks_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "inside.json"
    assert newest(file) is None
    looks = Looks(30, inside(time.monotonic() - 80, 5), inside(1, 4))
    file.write_text(json.dumps(asdict(looks)))
    assert newest(file) == looks
    file.write_text(json.dumps(asdict(Looks(30, inside(time.monotonic() - 91, 5)))))
    with pytest.raises(RuntimeError, match="does not look inside itself any more"):
        newest(file)


def test_the_turns_of_all_but_the_youngest_objects_are_noted() -> None:
    collected = threading.Event()
    callback = partial(_note_turn, collected)
    gc.callbacks.append(callback)
    try:
        gc.collect(0)
        assert not collected.is_set()
        gc.collect(1)
        assert collected.is_set()
    finally:
        gc.callbacks.remove(callback)


def samples(*, leak: int, turns: int) -> Samples:
    """Return the samples of ten minutes with a saw-tooth of garbage, and a leak in each minute."""
    found = Samples(1, Path("inside"), Path("store"), memory_share=0.02)
    for minute in range(11):
        found.times.append(60.0 * minute)
        objects = 100_000 + leak * minute
        found.series.setdefault(MEMORY, []).append(objects + 5_000 * minute)
        found.series.setdefault(OBJECTS, []).append(objects + 5_000 * minute)
        if minute % (10 // turns) == 0:
            for _ in range(2):  # the file has it twice
                found.note_settled(inside(60.0 * minute, objects))
    return found


@pytest.mark.parametrize("name", [MEMORY, OBJECTS])
def test_garbage_between_turns_of_the_collector_is_no_leak(name: str) -> None:
    assert samples(leak=0, turns=5)._bar(name).passed
    assert "after 6 turns of the collector" in samples(leak=0, turns=5)._bar(name).what
    assert not samples(leak=400, turns=5)._bar(name).passed


def test_without_turns_all_samples_count_and_the_bar_names_the_garbage() -> None:
    bar = samples(leak=0, turns=1)._bar(OBJECTS)
    assert not bar.passed
    assert "with garbage" in bar.what


def test_a_turn_before_the_time_that_counts_is_left_out() -> None:
    found = samples(leak=0, turns=1)
    found.note_settled(inside(-1.0, 1))
    assert len(found.settled) == 2


async def test_a_look_leaves_the_switch_interval_to_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "setswitchinterval", pytest.fail)
    before = look()
    timer = asyncio.get_running_loop().call_later(60, print)
    assert look().timers == before.timers + 1
    timer.cancel()
    assert before.tasks >= 1
    assert before.objects > 100
