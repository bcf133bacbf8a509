"""The custom states of users in rooms, as nodes share them: which of several nodes' states counts.

A user may be connected to several nodes, and have a state on each. The one that was set last counts. No clock says
which one that is: each state has a version, and a node that finds an equal or a higher one on another node, right after
it has set its own, sets its own once more, above it. Redis runs one write after the other, so the last write is above
all others.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import orjson

from gateway.cluster.shared_state import Change, Entry, SharedState, Subject
from schemas.bounded_json import MAX_STATE_BYTES

CUSTOM_STATE = "custom-state"
"""The kind of the subject of a user's custom state in a room."""

Place = tuple[str, str]
"""The names of a room and of a user in it."""

ReadRemote = Callable[[Sequence[Subject]], Awaitable[Sequence[Collection[Entry]]]]
"""A function that returns the other nodes' fields about each subject, or none while Redis is down."""


@dataclass(frozen=True, slots=True, order=True)
class CustomState:
    """A state that a user has set on one node."""

    version: int
    node: str
    """Nothing stands for this node."""
    text: str
    """The state as JSON."""


class SharedCustomStates:
    """The custom states of users, in the state that all nodes share."""

    def __init__(self, shared_state: SharedState) -> None:
        self._shared_state = shared_state
        self._unsettled: set[Subject] = set()
        """Those that were just set, so that they are to be above those of all other nodes."""

    def set(self, room: str, user: str, text: str | None, *, quietly: bool) -> None:
        """Set a user's state in a room, or remove it with None. If `quietly`, the change is not reported."""
        subject = subject_of(room, user)
        own = self.get(room, user)
        if text is None:
            self._unsettled.discard(subject)
            if own is not None:
                self._shared_state.set(subject, "", None, quietly=quietly)
        else:
            self._unsettled.add(subject)
            self._write(subject, own.version + 1 if own is not None else 1, text)

    def get(self, room: str, user: str) -> CustomState | None:
        """Return the state that this node has written."""
        return _parse("", self._shared_state.local(subject_of(room, user)).get(""))

    async def read(
        self, places: Sequence[Place], read_remote: ReadRemote, outdated: Collection[Place] = ()
    ) -> dict[Place, str]:
        """Return the states that count, over all nodes. Places without one are left out.

        At places that are `outdated`, this node's own state counts no more.
        """
        others = await read_remote([subject_of(*place) for place in places])
        found = {
            place: newest([*states_of(entries), *_some(None if place in outdated else self.get(*place))])
            for place, entries in zip(places, others, strict=True)
        }
        return {place: state.text for place, state in found.items() if state is not None}

    def on_written(self, change: Change) -> tuple[str | None, str | None]:
        """Return the state that counted before a change, and the one that counts now."""
        others = states_of(change.remote)
        was = newest([*others, *_some(_parse("", change.before.get("")))])
        own = _parse("", change.after.get(""))
        is_last = self._shared_state.local(change.subject).get("") == change.after.get("")
        if change.subject in self._unsettled and is_last and change.is_written:
            highest = max((other.version for other in others), default=0)
            if own is not None and own.version <= highest:
                # The write that follows at once reports the change.
                self._write(change.subject, highest + 1, own.text)
            else:
                self._unsettled.discard(change.subject)
        return text_of(was), text_of(newest([*others, *_some(own)]))

    def _write(self, subject: Subject, version: int, text: str) -> None:
        self._shared_state.set(subject, "", f"{version} {text}")


def subject_of(room: str, user: str) -> Subject:
    """Return the subject of a user's custom state in a room. No name has a space."""
    return CUSTOM_STATE, f"{room} {user}"


def place_of(name: str) -> Place:
    """Return the place that the name of such a subject stands for."""
    room, _, user = name.partition(" ")
    return room, user


def states_of(entries: Iterable[Entry]) -> list[CustomState]:
    """Return the states in the fields of other nodes, without those that no gateway has written."""
    found = [_parse(entry.node, entry.value) for entry in entries]
    return [state for state in found if state is not None and _is_object(state.text)]


def newest(states: Iterable[CustomState]) -> CustomState | None:
    """Return the state that was set last."""
    return max(states, default=None)


def text_of(state: CustomState | None) -> str | None:
    """Return the JSON of a state, if there is one."""
    return None if state is None else state.text


def _is_object(text: str) -> bool:
    if len(text) > MAX_STATE_BYTES:
        return False
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _some(state: CustomState | None) -> tuple[CustomState, ...]:
    return () if state is None else (state,)


def _parse(node: str, value: str | None) -> CustomState | None:
    version, _, text = (value or "").partition(" ")
    if not (version.isascii() and version.isdigit() and len(version) < 16 and text):
        return None
    return CustomState(int(version), node, text)
