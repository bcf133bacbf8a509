"""When to try again after a failed delivery."""

import random

DELAYS = (5, 30, 120, 600, 3600, 6 * 3600, 24 * 3600, 3 * 24 * 3600)
"""Seconds until the next attempt: after the first failure, the second, and so on. One more failure parks the event."""

JITTER = 0.1
"""The part of a delay by which it may be longer, so that events do not come back all at once."""


def delay_after(failures: int) -> float | None:
    """Return the seconds until the next attempt after so many failures, or None if there is none."""
    if failures > len(DELAYS):
        return None
    return DELAYS[failures - 1] * (1 + JITTER * random.random())  # noqa: S311 - chance, not secrets
