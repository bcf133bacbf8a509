"""Counters for the metrics: plain numbers that the code increases in place, so that counting is cheap."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.codes import Close


@dataclass(slots=True)
class Counters:
    """What has happened since the start of this process."""

    handled: Counter[type] = field(default_factory=Counter)
    """Messages, by the class of their handler."""
    ended: Counter[Close | None] = field(default_factory=Counter)
    """Ended connections, by the gateway's close code. None stands for those that the gateway has not closed."""

    def handled_but(self, kinds: Iterable[type]) -> int:
        """Return the number of messages, except for some handlers."""
        return self.handled.total() - sum(self.handled[kind] for kind in kinds)
