"""A limit on how many operations of one kind run at the same time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class ConcurrencyLimit:
    """Allow a limited number of uses at a time for each name or address. 0 means no limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_use: Counter[str] = Counter()

    @contextmanager
    def acquire(self, key: str) -> Iterator[bool]:
        """Yield whether `key` is below its limit. If it is, it counts as in use until the context ends."""
        if 0 < self._limit <= self._in_use[key]:
            yield False
            return
        self._in_use[key] += 1
        try:
            yield True
        finally:
            self._in_use[key] -= 1
            if not self._in_use[key]:
                del self._in_use[key]
