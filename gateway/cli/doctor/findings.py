"""What a check has found."""

from dataclasses import dataclass
from enum import StrEnum

AS_OWNER = "run this as the gateway's user, or as root"
"""What to change if this user may not look."""


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """A sentence about what was found, and the line to change if that is not as it should be."""

    verdict: Verdict
    found: str
    change: str = ""


def ok(found: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(Verdict.OK, found)


def warning(found: str, change: str) -> Finding:
    """Return that something may become a problem, or is one for some."""
    return Finding(Verdict.WARNING, found, change)


def problem(found: str, change: str) -> Finding:
    """Return that something does not work, or is not safe."""
    return Finding(Verdict.PROBLEM, found, change)
