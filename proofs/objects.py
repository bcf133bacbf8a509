"""All objects of this process, as the garbage collector knows them."""

import gc
from collections import Counter
from itertools import chain

ALL = (None,)
"""The generation that stands for all of them."""


def count_by_class() -> Counter[int]:
    """Return how many objects each class has, by its `id`.

    CPython 3.11 fails in `tuple(generator)` if another thread takes a reference to the tuple before it is complete. So
    this is one call of C code, during which no other thread runs.
    """
    return Counter(map(id, map(type, chain.from_iterable(map(gc.get_objects, ALL)))))
