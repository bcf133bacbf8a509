"""Which of the workers of one `gateway serve --workers` this process is."""

import time
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place. A worker that replaces another one takes over its number."""

    of: str
    """The id of the supervisor, which all of its workers share."""
    number: int
    count: int
    """How many workers there are."""
    taken_at: float = 0.0
    """When this process took the place, in seconds since 1970."""


mine: Place | None = None
"""The place of this process, or None if it serves alone."""


def take(place: Place) -> None:
    """Note the place of this process, at its start."""
    global mine
    mine = replace(place, taken_at=time.time())
