"""A few at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Cut into lists of at most so many."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
