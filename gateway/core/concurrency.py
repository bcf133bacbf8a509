"""Places: how many of something there may be at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """So many places at a time for each name or address; 0 stands for any number."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, key: str) -> Iterator[bool]:
        """Tell whether there was a place for `key`, which is taken until the context is left."""
        if 0 < self._places <= self._taken[key]:
            yield False
            return
        self._taken[key] += 1
        try:
            yield True
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
