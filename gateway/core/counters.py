"""Counters for the metrics: plain numbers that the code increases in place, so that counting is cheap."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.core.histograms import SECONDS, Histogram
from schemas.codes import Close, Status

_OK = Status.OK
"""An enumeration's member takes as long to find as to compare."""


class Answered(Histogram):
    """Messages or requests of one kind that have ended: how long each took, and its status."""

    __slots__ = ("statuses",)

    def __init__(self) -> None:
        super().__init__()
        self.statuses: Counter[int] = Counter()
        """Those that did not succeed, by status."""

    def add_answer(self, seconds: float, status: int) -> None:
        """Count a message."""
        # As `add` does, since this runs for every message.
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds
        if status != _OK:
            self.statuses[status] += 1

    def include(self, other: "Answered") -> None:
        """Add another kind, for a metric that shows both as one."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.statuses.update(other.statuses)


Key = TypeVar("Key")


class AnsweredBy(dict[Key, Answered]):
    """What has been answered, by its kind."""

    def __missing__(self, kind: Key) -> Answered:
        """Begin to count one more kind."""
        answered = self[kind] = Answered()
        return answered


@dataclass(slots=True)
class Counters:
    """What has happened since the start of this process."""

    handled: Counter[type] = field(default_factory=Counter)
    """Messages, by the class of their handler."""
    answered: AnsweredBy[type] = field(default_factory=AnsweredBy)
    """Messages of connections that have ended, by the class of their handler."""
    called: AnsweredBy[type] = field(default_factory=AnsweredBy)
    """Messages over HTTP that have ended, likewise."""
    requests: AnsweredBy[str] = field(default_factory=AnsweredBy)
    """Requests of the HTTP API, by the path of their route or nothing, with their HTTP statuses."""
    unread: Counter[int] = field(default_factory=Counter)
    """Frames that were refused before they had a handler, by status."""
    opened: int = 0
    """Connections that were admitted after their log-in."""
    handshakes_refused: Counter[int] = field(default_factory=Counter)
    """Handshakes that were refused, by the status of the error."""
    credentials_refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Credentials that did not hold, by the service that vouches for them and by the check."""
    chunks: int = 0
    """Chunks of answers to clients, over sockets and over HTTP."""
    ended: Counter[Close | None] = field(default_factory=Counter)
    """Ended connections, by the gateway's close code. None stands for those that the gateway has not closed."""

    def handled_but(self, kinds: Iterable[type]) -> int:
        """Return the number of messages, except for some handlers."""
        return self.handled.total() - sum(self.handled[kind] for kind in kinds)
