"""Reads the routes file, and checks all of it before any of it counts.

The file is TOML. All mistakes come in one error, one line each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.core.start_error import StartError
from gateway.routes.checker import Checker
from gateway.routes.model import Routes
from gateway.routes.source import Stamps, read_toml, stamp
from gateway.routes.surroundings import Surroundings

MAX_LINES = 50
"""Mistakes of one file that are printed. More would hide the first ones."""


@dataclass(frozen=True)
class Reading:
    """What was read, and the files that it came from, as they were before that."""

    routes: Routes
    stamps: Stamps


class WrongRoutes(StartError):
    """A file with mistakes. A change of any of its files may mend it."""

    def __init__(self, text: str, stamps: Stamps) -> None:
        super().__init__(text)
        self.stamps = stamps


def read(path: Path, surroundings: Surroundings) -> Reading:
    """Read and check a routes file, or raise `WrongRoutes` with a line for each mistake."""
    stamps = {path: stamp(path)}
    try:
        document = read_toml(path)
    except StartError as error:
        raise WrongRoutes(str(error), stamps) from None
    checker = Checker(path.parent, surroundings)
    routes = checker.check(document)
    stamps |= checker.stamps
    if checker.mistakes:
        raise WrongRoutes("\n".join(f"{path}: {mistake}" for mistake in _first(checker.mistakes)), stamps)
    return Reading(routes, stamps)


def _first(mistakes: list[str]) -> Iterator[str]:
    yield from mistakes[:MAX_LINES]
    if (more := len(mistakes) - MAX_LINES) > 0:
        yield f"{more} more mistakes; correct those above first"
