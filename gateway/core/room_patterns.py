"""Patterns of room names: a name in which `*` stands for any run of characters, also for none."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

MAX_LENGTH = 64
"""The most characters of a pattern: as many as a room name has."""

MAX_STARS = 4

_FORM = re.compile(r"[a-z0-9*][a-z0-9._*-]*")


@dataclass(frozen=True, slots=True)
class RoomPattern:
    """One pattern, such as `team-*`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the pattern, or raise `ValueError` with the reason."""
        if not 0 < len(text) <= MAX_LENGTH:
            raise ValueError(f"expected a pattern of 1 to {MAX_LENGTH} characters, got {len(text)}")
        if _FORM.fullmatch(text) is None:
            raise ValueError(f"expected a pattern of a-z 0-9 - _ . * with a letter, digit or star first, got {text!r}")
        if "**" in text:
            raise ValueError(f"write one star instead of two in {text!r}; it stands for any run of characters")
        if text.count("*") > MAX_STARS:
            raise ValueError(f"expected at most {MAX_STARS} stars in a pattern, got {text!r}")
        return cls(text)

    def matches(self, room: str) -> bool:
        """Return whether a room has such a name. The time depends on the lengths alone."""
        first, *rest = self.text.split("*")
        if not rest:
            return room == first
        *middle, last = rest
        end = len(room) - len(last)
        if end < len(first) or not room.startswith(first) or not room.endswith(last):
            return False
        # The leftmost place of each part leaves most room for the next one, so no place must be tried again.
        at = len(first)
        for part in middle:
            at = room.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


@dataclass(frozen=True, slots=True)
class RoomPatterns:
    """Several patterns: a room needs to fit one of them. Without any, no room does."""

    patterns: tuple[RoomPattern, ...]
    # Most patterns are a name or the beginning of names, and one look finds any of those.
    _names: frozenset[str] = field(init=False, repr=False, compare=False)
    _beginnings: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _others: tuple[RoomPattern, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {pattern.text for pattern in self.patterns if "*" not in pattern.text}
        beginnings = {pattern.text for pattern in self.patterns if pattern.text.find("*") == len(pattern.text) - 1}
        others = tuple(pattern for pattern in self.patterns if pattern.text not in names | beginnings)
        object.__setattr__(self, "_names", frozenset(names))
        object.__setattr__(self, "_beginnings", tuple(text[:-1] for text in sorted(beginnings)))
        object.__setattr__(self, "_others", others)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Return the patterns in their order, each once, or raise `ValueError` with the reason."""
        return cls(tuple(RoomPattern.parse(text) for text in dict.fromkeys(texts)))

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the patterns as they were written."""
        return tuple(pattern.text for pattern in self.patterns)

    def matches(self, room: str) -> bool:
        """Return whether the name of a room fits one of the patterns."""
        if room in self._names or room.startswith(self._beginnings):
            return True
        return bool(self._others) and any(pattern.matches(room) for pattern in self._others)
