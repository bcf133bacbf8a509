"""A limit on how many operations of one kind run at the same time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Places:
    """Allow a limited number of uses at a time for each name or address. 0 means no limit."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._taken: Counter[str] = Counter()

    @contextmanager
    def take(self, key: str) -> Iterator[bool]:
        """Yield whether `key` is below its limit. If it is, it counts as in use until the context ends."""
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
