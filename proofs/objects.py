"""All objects of this process, as the garbage collector knows them.

CPython 3.11 fails in `tuple(generator)` if another thread takes a reference to the tuple before it is complete. So no
other thread may run between the moment when the objects are taken and the one when they are let go.
"""

import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

ALL = (None,)
"""The generation that stands for all of them."""

LONG_SECONDS = 60.0


@contextmanager
def all_objects() -> Iterator[list[Any]]:
    """Yield all objects, and keep the other threads waiting meanwhile. The list is empty at the end.

    No gateway may serve meanwhile. It sets the switch interval itself beside a crowd, and would take the long one for
    its own: its threads would then wait for a minute each.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(LONG_SECONDS)
    try:
        time.sleep(2 * before)  # a thread that waits for its turn already may still take it after the shorter time
        found = gc.get_objects()
        try:
            yield found
        finally:
            found.clear()
    finally:
        sys.setswitchinterval(before)


def count_by_class() -> Counter[int]:
    """Return how many objects each class has, by its `id`. It is one call of C code, which no thread interrupts."""
    return Counter(map(id, map(type, chain.from_iterable(map(gc.get_objects, ALL)))))
