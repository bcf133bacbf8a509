"""Whether something grows: the slope of its samples, as Theil and Sen estimate it."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median

from proofs.bar import Bar

MOST_SAMPLES = 400
"""More are thinned out: the number of pairs grows with the square."""


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs, which a few strange samples do not move."""
    step = -(-len(times) // MOST_SAMPLES)
    samples = list(zip(times[::step], values[::step], strict=True))
    slopes = [(later[1] - former[1]) / (later[0] - former[0]) for former, later in combinations(samples, 2)]
    return median(slopes)


def no_slope(
    what: str,
    times: Sequence[float],
    values: Sequence[float],
    *,
    share: float,
    least: float = 0,
    is_figure: bool = False,
) -> Bar:
    """Return the bar of something that must not grow.

    The slope over the whole time must stay below a share of the middle value, and may be `least` in any case.
    """
    over = slope(times, values) * (times[-1] - times[0])
    level = median(values)
    limit = max(share * level, least)
    found = f"{over:+,.1f} at {level:,.0f}"
    return Bar(f"{what}: growth over {_minutes(times)}", f"≤ {limit:,.1f}", found, over <= limit, is_figure)


def _minutes(times: Sequence[float]) -> str:
    return f"{(times[-1] - times[0]) / 60:.0f} min"
