"""How long a service may take: for its first part, for each later one, and for all of them."""

import asyncio
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The deadlines of one message, on the loop's clock."""

    first: float
    """When the first part of the answer must be there: its first chunk, or all of it."""
    silence: float = math.inf
    """How many seconds may pass between two parts."""
    end: float = math.inf
    """When the last part must be there."""

    def after_a_part(self) -> float:
        """Return when the next part must be there, since one has just been taken."""
        return min(now() + self.silence, self.end)

    def before(self, first: float) -> "Deadlines":
        """Return these deadlines, but for the first part another one."""
        return Deadlines(first, self.silence, self.end)


def now() -> float:
    """Return the time on the loop's clock."""
    return asyncio.get_running_loop().time()
