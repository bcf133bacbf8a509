"""What a proof is, and the bars that it holds the gateway to."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

MEASUREMENTS = 3
"""How often a bar of time or CPU may be measured: another process of the machine may take its cores meanwhile."""

_ORDINALS = ("first", "second", "third")

Report = Callable[[str], None]
"""Takes a line about the progress."""


class Scale(StrEnum):
    """How long a proof goes on, and with how many parts. The short form is for CI."""

    FULL = "full"
    SHORT = "short"


@dataclass(frozen=True)
class Bar:
    """One line of the result."""

    what: str
    limit: str
    found: str
    passed: bool
    is_figure: bool = False
    """Whether it is a time, a share of CPU or memory. Another load of the machine changes these, but no count."""


@dataclass(frozen=True)
class Proof:
    """A proof: it ends all that it starts, and returns its bars in any case but a fault of its own."""

    name: str
    about: str
    prove: Callable[[Scale, Report], Awaitable[list[Bar]]]


def none_of(what: str, count: int) -> Bar:
    """Return the bar of a count that must be zero, such as that of lost messages."""
    return Bar(what, "0", f"{count:,}", count == 0)


def at_most(what: str, found: float, limit: float, unit: str = "", *, digits: int = 1) -> Bar:
    """Return the bar of a figure with an upper limit."""
    return Bar(what, f"≤ {limit:g}{unit}", f"{found:,.{digits}f}{unit}", found <= limit, is_figure=True)


async def measured(measure: Callable[[], Awaitable[Bar]], report: Report) -> Bar:
    """Measure a bar of time or CPU up to three times, until it is passed; its text says so. No count may use this."""
    for ordinal in _ORDINALS[:MEASUREMENTS]:
        bar = await measure()
        if ordinal != _ORDINALS[0]:
            bar = Bar(bar.what, bar.limit, f"{bar.found} ({ordinal} measurement)", bar.passed, bar.is_figure)
        if bar.passed:
            break
        report(f"{bar.what}: {bar.found}, and the limit is {bar.limit}")
    return bar
