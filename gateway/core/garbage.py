"""Tunes Python's garbage collector for a process with many objects that live long: modules, and then connections."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from gateway.core.histograms import Histogram

pauses: dict[str, Histogram] = {"0": Histogram(), "1": Histogram(), "2": Histogram()}
"""The pauses of this process for garbage collection, by generation. Nothing else runs in one."""

_watchers = 0
_began = 0.0


@contextmanager
def measured_pauses() -> Iterator[None]:
    """Measure the pauses while the context lasts. Several gateways of a process measure them once."""
    global _watchers
    _watchers += 1
    if _watchers == 1:
        gc.callbacks.append(_measure)
    try:
        yield
    finally:
        _watchers -= 1
        if not _watchers:
            gc.callbacks.remove(_measure)


def _measure(phase: str, info: dict[str, int]) -> None:
    global _began
    if phase == "start":
        _began = perf_counter()
    else:
        pauses[str(info["generation"])].add(perf_counter() - _began)


def collect_nothing_yet() -> None:
    """Search for garbage after 200,000 new objects, in place of 700: after more than a start makes.

    The imports of a command make some 115,000 objects that stay. Two searches of them would take 5 % of a start.
    """
    gc.set_threshold(200_000, 50, 100)


def tune_garbage_collector() -> None:
    """Exclude the objects of the start from garbage collection, and search all others in short pauses.

    All clients wait in a pause. A search of 2,000 new objects takes 0.2 ms, one of the 50,000 that have stayed since
    the last one 2 ms, and one of millions 140 ms. All cost the same for each object. Thousands of connections are
    young objects that stay: with Python's own threshold, the collector would search them again and again. A search of
    all objects takes 0.1 s for a million, so it comes only after twenty million new ones.
    """
    gc.freeze()  # the little garbage among them stays too, which is cheaper than to look for it
    gc.set_threshold(2_000, 25, 400)
