"""Checks that an import of `handlers` or `schemas` finds the gateway's package and no other module.

A project may have its own `handlers.py`. If two modules have the same name, Python imports the first on `sys.path`,
and the order depends on how the process was started.
"""

import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

NAMES = ("handlers", "schemas")
ROOT = Path(__file__).parents[2]
"""The folder of the three packages."""

REMEDY = "put your code into one package with a name of its own"

_told: set[Path] = set()


def check_imported() -> None:
    """Raise `ImportError` if another module hides a package of the gateway. Log a module that such a package hides."""
    for name in NAMES:
        others = list(_others(name))
        if (loaded := sys.modules.get(name)) is not None:
            first = _file_of(loaded.__spec__)
        else:
            first = next((place for place, hides in others if hides), None)
        if first is not None and not _is_ours(first):
            raise ImportError(hidden(name, first))
        _warn_of(name, others)


def find_hidden() -> str | None:
    """Return a line about a package of the gateway that another module hides on this `sys.path`, or None."""
    for name in NAMES:
        others = list(_others(name))
        for place, hides in others:
            if hides:
                return hidden(name, place)
        _warn_of(name, others)
    return None


def hidden(name: str, place: Path) -> str:
    """Return the line that says which file is in the way."""
    return f"{place} hides the gateway's own package `{name}`; {REMEDY}"


def _warn_of(name: str, others: list[tuple[Path, bool]]) -> None:
    for place, _ in others:
        if place not in _told:
            _told.add(place)
            _warn(f"the gateway's own package `{name}` hides {place}; {REMEDY}")


def _warn(line: str) -> None:
    import logging  # which nearly no command needs before this

    logging.getLogger(__name__).warning("%s", line)


def _others(name: str) -> Iterator[tuple[Path, bool]]:
    """Yield the other modules of this name on `sys.path`, each with whether it comes before the gateway's."""
    before = True
    for entry in sys.path:
        spec = PathFinder.find_spec(name, [entry])
        place = _file_of(spec)
        if place is None:
            continue
        if _is_ours(place):
            before = False
        else:
            # Any later package takes precedence over a folder without `__init__.py`.
            yield place, before and spec is not None and spec.origin is not None


def _file_of(spec: ModuleSpec | None) -> Path | None:
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin).resolve()
    folders = [Path(folder).resolve() for folder in spec.submodule_search_locations or ()]
    return next((folder for folder in folders if any(folder.glob("*.py"))), None)


def _is_ours(place: Path) -> bool:
    """Return whether a file belongs to this gateway, or to a second copy, such as an installed one."""
    return place.name == "__init__.py" and (place.parents[1] / Path(__file__).relative_to(ROOT)).is_file()
