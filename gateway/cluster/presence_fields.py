"""What a node writes for the others about a user's presence: the subjects, and what their fields mean."""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Literal

from gateway.cluster.shared_state import Entry, Subject

PresenceState = Literal["online", "away"]
"""The presence of a connected user."""

OnPresenceChange = Callable[[str, str, PresenceState | Literal["offline"], str | None], None]
"""A function that a user's change of presence in a room is passed to, with the user's custom state there as JSON.

It never raises, as other rooms wait.
"""

HERE = "here"
"""The field of a user that is present, while that is watched. Like a room's, it has no other value."""

USER = "user"
ROOM = "heard"
"""The kinds of the subjects of a user, and of a room that users hear."""

_USER = re.compile(r"([0-9]{1,9}) (online|away)")


def presence_of(others: Iterable[Entry], mine: str | None = None) -> PresenceState | None:
    """Return a user's presence over all nodes: online if one node says so, else away if one says so."""
    found = {_state(entry.value) for entry in others} | {_state(mine)}
    return "online" if "online" in found else "away" if "away" in found else None


def is_here(others: Iterable[Entry]) -> bool:
    """Return whether a node shows that a watched user or room is present there."""
    return any(entry.name == HERE for entry in others)


def connections_of(value: str | None) -> int:
    """Return the number of connections in a node's value, or 0 for a value that no gateway has written."""
    digits = (value or "").partition(" ")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def room_changes(
    before: dict[str, str | None], after: dict[str, str | None], others: Collection[Entry]
) -> list[tuple[str, Literal["online", "offline"]]]:
    """Return the rooms in which a user has appeared or disappeared, without those where another node has the user."""
    elsewhere = {entry.name for entry in others}
    return [
        (room, "online" if after[room] else "offline")
        for room, was in before.items()
        if bool(was) != bool(after[room]) and room not in elsewhere
    ]


def user_subject(name: str) -> Subject:
    """Return the subject of a user."""
    return USER, name


def room_subject(room: str) -> Subject:
    """Return the subject of a room that users hear."""
    return ROOM, room


def places_of(user: str) -> Subject:
    """Return the subject of the rooms that a user hears: each is a field."""
    return "places", user


def _state(value: str | None) -> PresenceState | None:
    found = _USER.fullmatch(value or "")
    if found is None:
        return None
    return "online" if found[2] == "online" else "away"
