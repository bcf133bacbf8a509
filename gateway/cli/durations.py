"""Durations as a person types them: 30s, 10m, 2h, 1d, or a number of seconds."""

import re

from gateway.core.start_error import StartError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_NAMES = {86_400: "day", 3600: "hour", 60: "minute", 1: "second"}


def seconds_of(text: str, option: str, most: float) -> float:
    """Return the seconds of a typed duration, or raise `StartError`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)", text.strip(), re.ASCII)
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if not 0 < seconds <= most:
        raise StartError(f"{option}: expected a duration such as 30s, 10m or 2h, of at most {in_words(most)}")
    return seconds


def in_words(seconds: float) -> str:
    """Return a duration in its largest fitting unit."""
    for size, name in _NAMES.items():
        if seconds >= size and (seconds % size == 0 or size == 1):
            count = f"{seconds / size:g}"
            return f"{count} {name}" if count == "1" else f"{count} {name}s"
    return f"{seconds:g} seconds"


def briefly(seconds: float) -> str:
    """Return a duration in at most two units, for a column of a table."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])
