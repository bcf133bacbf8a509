"""What other packages add: the registry that `GATEWAY_REGISTRY` names, and those of entry points."""

import sys
import traceback
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from gateway.core.start_error import StartError
from handlers.registry import Registry
from schemas.base import DefinitionError

GROUP = "json_gateway.registry"
"""The group of entry points. Each names a `Registry`."""

SETTING = "GATEWAY_REGISTRY"


def extended(registry: Registry, named: str) -> Registry:
    """Return the registry with all that the setting and the entry points add, or raise `StartError` in one line."""
    for place, reference in _extensions(named):
        added = _load(place, reference)
        try:
            registry |= added
        except DefinitionError as error:
            raise StartError(f"{place}: {error}") from None
    return registry


def _extensions(named: str) -> Iterator[tuple[str, EntryPoint]]:
    if named:
        yield SETTING, EntryPoint(SETTING, named, GROUP)
    for reference in _entry_points(tuple(sys.path)):
        package = f" of {reference.dist.name}" if reference.dist else ""
        yield f"entry point {reference.name}{package}", reference


@cache
def _entry_points(_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Find the entry points; looking through all installed packages takes tens of milliseconds."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda each: (each.dist.name if each.dist else "", each.name)))


def _load(place: str, reference: EntryPoint) -> Registry:
    try:
        found = reference.load()
    except DefinitionError as error:
        raise StartError(f"{place}: {error}") from None
    except (Exception, SystemExit) as error:  # a module may raise anything
        raise StartError(f"{place}: cannot import {reference.value}: {_told(error)}") from None
    if not isinstance(found, Registry):
        raise StartError(f"{place}: expected {reference.value} to be a Registry, got {type(found).__name__}")
    return found


def _told(error: BaseException) -> str:
    """Return an exception in one line, with the line of code that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    where = "" if "importlib" in last.filename else f" ({last.filename}, line {last.lineno})"
    return f"{type(error).__name__}: {text}{where}"
