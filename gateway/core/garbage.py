"""Tunes Python's garbage collector for a process with many objects that live long: modules, and then connections."""

import gc


def collect_nothing_yet() -> None:
    """Search for garbage after 200,000 new objects, in place of 700: after more than a start makes.

    The imports of a command make some 115,000 objects that stay. Two searches of them would take 5 % of a start.
    """
    gc.set_threshold(200_000, 50, 100)


def tune_garbage_collector() -> None:
    """Exclude the objects of the start from garbage collection, and search the young ones in short pauses.

    A search of 2,000 new objects takes 0.2 ms, and one of 50,000 up to 40 ms, in which all clients wait. Both cost the
    same in all. Thousands of connections are young objects that stay: with Python's own threshold for older objects,
    the collector would spend most of its time on searching them again and again.
    """
    gc.freeze()  # the little garbage among them stays too, which is cheaper than to look for it
    gc.set_threshold(2_000, 1250, 100)
