"""All objects of this process, as the garbage collector knows them."""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LONG_SECONDS = 60.0


@contextmanager
def all_objects() -> Iterator[list[Any]]:
    """Yield all objects, and keep the other threads waiting meanwhile. The list is empty at the end.

    CPython 3.11 fails in `tuple(generator)` if another thread takes a reference to the tuple before it is complete.
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
