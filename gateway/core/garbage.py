"""Tunes Python's garbage collector for a process with many objects that live long: modules, and then connections."""

import gc


def collect_less_often() -> None:
    """Search for garbage after 50,000 new objects, in place of 700.

    The imports of a command and thousands of connections are young objects that stay. The collector would spend most of
    its time on searching them again and again.
    """
    gc.set_threshold(50_000, 50, 100)


def tune_garbage_collector() -> None:
    """Exclude the objects of the start from garbage collection, and collect less often."""
    gc.collect(0)  # older objects are hardly ever garbage, and a search of all takes 0.1 s
    gc.freeze()
    collect_less_often()
