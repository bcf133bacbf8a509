"""The garbage collector of a process with thousands of connections."""

import gc
from collections.abc import Iterator

import pytest

from gateway.core.garbage import tune_garbage_collector

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_no_search_is_of_more_than_some_ten_thousand_objects_that_stay() -> None:
    searched = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 1:
            searched.append(len(gc.get_objects(generation=1)))

    gc.collect()
    tune_garbage_collector()
    gc.callbacks.append(note)
    try:
        connections: list[object] = [[] for _ in range(300_000)]
    finally:
        gc.callbacks.remove(note)
    assert len(connections) / 60_000 <= len(searched) <= len(connections) / 40_000
    assert max(searched) <= 60_000
