"""Rights by room: what a token allows in which rooms, by patterns of their names.

They come from the claim `rooms` of our tokens, from a claim of an external service, or from an application's own check:
`{"team-*": ["join", "send"], "news": ["join"]}`. A right counts if one of the fitting patterns has it. Without such a
claim, all rooms are as open as roles and settings make them. The roles of members count in any case.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Self

import orjson

from gateway.core.folding import FoldedLog
from gateway.core.room_patterns import RoomPatterns

logger = logging.getLogger(__name__)

CLAIM = "rooms"
"""The claim of our own tokens."""

MAX_PATTERNS = 64
"""The most patterns of one user."""

MAX_ROOMS_LENGTH = 1400
"""The most characters of a user's rights in our tokens.

With it, a token with the longest list of scopes and the signature of an RSA key of 2,048 bits has 4,053 characters, of
the 4,096 that a token may have. A token with a larger key and many scopes may have no place for them.
"""


class Right(StrEnum):
    """What a pattern may allow in the rooms that fit it."""

    JOIN = "join"
    """Become a member, hear the room, read it, and do what a member's role allows besides sending."""
    SEND = "send"
    """Send, edit and delete messages, and send typing and events."""
    CREATE = "create"
    """Make the room, also by joining one that does not exist."""


_log = FoldedLog(logger, logging.WARNING, same=1)


@dataclass(frozen=True, slots=True)
class Grants:
    """What one claim grants."""

    rights: tuple[tuple[str, frozenset[Right]], ...]
    """The rights by pattern, sorted."""
    rooms: Mapping[Right, RoomPatterns] = field(init=False, repr=False, compare=False)
    """The same by right. Making it raises `ValueError` for what is no pattern."""

    def __post_init__(self) -> None:
        rooms = {right: RoomPatterns.parse(text for text, rights in self.rights if right in rights) for right in Right}
        RoomPatterns.parse(text for text, rights in self.rights if not rights)  # only to refuse what is no pattern
        object.__setattr__(self, "rooms", rooms)

    @property
    def claim(self) -> dict[str, list[str]]:
        """Return the claim."""
        return {pattern: sorted(rights) for pattern, rights in self.rights}


@dataclass(frozen=True, slots=True)
class RoomRights:
    """The rights of one credential. Equal claims share one object, since most users have the same."""

    layers: tuple[Grants, ...]
    """Each of them must allow what is to be allowed."""

    @classmethod
    def parse(cls, claim: object) -> "RoomRights":
        """Return the rights of a claim, or raise `ValueError` with the reason."""
        if not isinstance(claim, Mapping):
            raise ValueError(f"expected an object of patterns, got {type(claim).__name__}")  # noqa: TRY004 - data
        if len(claim) > MAX_PATTERNS:
            raise ValueError(f"expected at most {MAX_PATTERNS} patterns, got {len(claim)}")
        return _parsed(claim)

    @property
    def text(self) -> str:
        """Return the rights as the store has them, a list of claims in JSON. `rights_of` reads it."""
        return orjson.dumps([grants.claim for grants in self.layers]).decode()

    @property
    def claim(self) -> dict[str, list[str]]:
        """Return the rights as one claim. Of several layers, it has what all of them grant by the same patterns."""
        first, *others = (dict(grants.rights) for grants in self.layers)
        return {
            pattern: sorted(rights.intersection(*(other[pattern] for other in others)))
            for pattern, rights in first.items()
            if all(pattern in other for other in others)
        }

    def allows(self, right: Right, room: str) -> bool:
        """Return whether a right counts in a room."""
        return all(grants.rooms[right].matches(room) for grants in self.layers)

    def __and__(self, other: Self) -> "RoomRights":
        """Return the rights that both allow."""
        more = tuple(layer for layer in other.layers if layer not in self.layers)
        return RoomRights(self.layers + more) if more else self


NO_ROOMS = RoomRights((Grants(()),))
"""The rights of a claim that cannot be read: none in any room."""


def rights_of(text: str | None) -> RoomRights | None:
    """Return the rights that the store has; None stands for no restriction."""
    return None if text is None else _of_text(text)


def both(one: RoomRights | None, other: RoomRights | None) -> RoomRights | None:
    """Return the rights that both allow, where None allows everything."""
    if one is None:
        return other
    return one if other is None else one & other


def either(one: RoomRights | None, other: RoomRights | None) -> RoomRights | None:
    """Return what one of two sources allows. One that is None says nothing."""
    if one is None:
        return other
    return one if other is None else united([one, other])


def united(all_rights: Iterable[RoomRights]) -> RoomRights:
    """Return what any of several claims allows. They may have more patterns together than one claim may."""
    grants: dict[str, frozenset[Right]] = {}
    for rights in all_rights:
        for pattern, allowed in rights.claim.items():
            grants[pattern] = grants.get(pattern, frozenset()) | _rights(allowed)
    return _shared(tuple(sorted(grants.items())))


def read_claim(claim: object, service: str) -> RoomRights:
    """Return the rights of a claim. One that cannot be read is logged without its content, and allows nothing."""
    try:
        return RoomRights.parse(claim)
    except ValueError:
        _log.log(
            "a token of the service %s has a claim about rooms that cannot be read, so it allows no room;"
            ' expected an object such as {"team-*": ["join", "send"]} of at most %d patterns',
            *(service, MAX_PATTERNS),
        )
        return NO_ROOMS


def _parsed(claim: Mapping[object, object]) -> RoomRights:
    # Sorted and without repetition, so that one meaning has one form.
    grants = {pattern: _rights(rights) for pattern, rights in claim.items() if isinstance(pattern, str)}
    if len(grants) < len(claim):
        raise ValueError("expected texts as the patterns")
    return _shared(tuple(sorted(grants.items())))


def _rights(names: object) -> frozenset[Right]:
    if not isinstance(names, list | tuple | set | frozenset):
        raise ValueError("expected a list of rights for each pattern")  # noqa: TRY004 - data
    try:
        return frozenset(Right(name) for name in names)
    except ValueError:
        raise ValueError(f"expected only {', '.join(f'`{right}`' for right in Right)} as rights") from None


@lru_cache(maxsize=1024)
def _shared(grants: tuple[tuple[str, frozenset[Right]], ...]) -> RoomRights:
    return RoomRights((Grants(grants),))


@lru_cache(maxsize=1024)
def _of_text(text: str) -> RoomRights:
    return RoomRights(tuple(layer for claim in orjson.loads(text) for layer in _parsed(claim).layers))
