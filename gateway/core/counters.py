"""What is counted where it happens, for nobody but the metrics: plain numbers, so that counting costs nothing."""

from collections import Counter
from dataclasses import dataclass, field

from schemas.codes import Close


@dataclass(slots=True)
class Counts:
    """Since the start of this process."""

    handled: Counter[type] = field(default_factory=Counter)
    """Messages, by the class of their handler."""
    ended: Counter[Close | None] = field(default_factory=Counter)
    """Connections, by how the gateway ended them; None for those that went by themselves."""
