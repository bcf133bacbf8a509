"""Who is connected where: how many connections a user and an address have, how users look, and which rooms they hear.

A gateway that is one process knows all of that by itself (`LocalRoster`). Of several, each says what it knows in
Redis (`SharedRoster`), and falls back to what it knows by itself while Redis is down.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal, Protocol

from gateway.bus.redis_commands import RedisUnavailable
from gateway.cluster.shared_state import Change, Entry, SharedState, Subject
from gateway.core.batches import batches

READ_BATCH = 200
"""Users that are asked about in one round trip: some milliseconds of work."""

PresenceState = Literal["online", "away"]
"""How a user looks who is there."""

OnPresenceChange = Callable[[str, str, PresenceState | Literal["offline"]], None]
"""Takes the news for a room, of a user, that the user now looks so there. It never raises, as other rooms wait."""

_USER = re.compile(r"([0-9]{1,9}) (online|away)")


class Roster(Protocol):
    """What the whole cluster knows of who is there.

    `enter_room`, `leave_room`, `set_state` return at once; what they come to is told to whoever has called `on_change`,
    soon after.
    """

    def on_change(self, news: OnPresenceChange) -> None:
        """Have news told to `news`, each by one node."""

    async def admit(self, user: str, address: str) -> bool:
        """Count one more connection in; False if the user or the address has as many as it may, and it is not."""

    def release(self, user: str, address: str) -> None:
        """Count a connection out."""

    def set_state(
        self, user: str, was: PresenceState | None, now: PresenceState | None, rooms: Callable[[], Collection[str]]
    ) -> None:
        """Note how a user looks to this node, None for not at all; `rooms` gives those that the user hears on it."""

    def enter_room(self, room: str, user: str) -> None:
        """Note that a user begins to hear a room on this node."""

    def leave_room(self, room: str, user: str) -> None:
        """Note that a user has ceased to hear a room on this node."""

    def drop_from_room(self, room: str, user: str) -> None:
        """Do what `leave_room` does, where the room is told otherwise."""

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Tell how users look to other nodes; those who are on none are left out."""

    async def remote_connections(self) -> int:
        """Tell how many connections other nodes have."""


class LocalRoster:
    """The roster of a gateway that is one process."""

    def __init__(self, max_per_user: int, max_per_address: int) -> None:
        self._count = LocalCount(max_per_user, max_per_address)
        self._notify: OnPresenceChange = _no_news

    def on_change(self, news: OnPresenceChange) -> None:
        """Have news told to `news`."""
        self._notify = news

    async def admit(self, user: str, address: str) -> bool:
        """Count one more connection in, if it may be."""
        return self._count.admit(user, address)

    def release(self, user: str, address: str) -> None:
        """Count a connection out."""
        self._count.release(user, address)

    def set_state(
        self, user: str, was: PresenceState | None, now: PresenceState | None, rooms: Callable[[], Collection[str]]
    ) -> None:
        """Tell the rooms how a user looks now; whether the user is there at all, `enter_room` and `leave_room` tell."""
        if was is not None and now is not None and was != now:
            for room in rooms():
                self._notify(room, user, now)

    def enter_room(self, room: str, user: str) -> None:
        """Tell a room that a user is there."""
        self._notify(room, user, "online")

    def leave_room(self, room: str, user: str) -> None:
        """Tell a room that a user is there no more."""
        self._notify(room, user, "offline")

    def drop_from_room(self, room: str, user: str) -> None:
        """Nothing to do."""

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Tell that nobody is elsewhere."""
        return {}

    async def remote_connections(self) -> int:
        """Tell that there are none."""
        return 0


class SharedRoster:
    """The roster of one node of several."""

    def __init__(self, shared_state: SharedState, max_per_user: int, max_per_address: int) -> None:
        self._shared_state = shared_state
        self._max_per_user = max_per_user
        self._max_per_address = max_per_address
        self._count = LocalCount(max_per_user, max_per_address)
        self._states: dict[str, PresenceState] = {}
        self._notify: OnPresenceChange = _no_news
        self._notifying: set[asyncio.Task[None]] = set()
        self.guesses = 0
        """How often a question was answered with what this node knows, since Redis was down."""

    def on_change(self, news: OnPresenceChange) -> None:
        """Have news told to `news`."""
        self._notify = news

    async def admit(self, user: str, address: str) -> bool:
        """Count one more connection in, if it may be; costs at most one round trip."""
        if not self._count.admit(user, address):
            return False  # too many here alone
        self._set_counts(user, address)
        try:
            fits = await self._fits(user, address)
        except BaseException:
            self.release(user, address)
            raise
        if not fits:
            self.release(user, address)
        return fits

    def release(self, user: str, address: str) -> None:
        """Count a connection out."""
        self._count.release(user, address)
        self._set_counts(user, address)

    def set_state(
        self, user: str, was: PresenceState | None, now: PresenceState | None, rooms: Callable[[], Collection[str]]
    ) -> None:
        """Say how a user looks."""
        if now is None:
            self._states.pop(user, None)
        else:
            self._states[user] = now
        self._set_user(user)

    def enter_room(self, room: str, user: str) -> None:
        """Say that a user hears a room here."""
        self._shared_state.set(_places(user), room, "1")

    def leave_room(self, room: str, user: str) -> None:
        """Say that a user hears a room here no more."""
        self._shared_state.set(_places(user), room, None)

    def drop_from_room(self, room: str, user: str) -> None:
        """Say that a user hears a room here no more, which is no news to it."""
        self._shared_state.set(_places(user), room, None, quietly=True)

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Ask how users look to other nodes."""
        found: dict[str, PresenceState] = {}
        try:
            for some in batches(users, READ_BATCH):
                answers = await self._shared_state.read_remote([_user(name) for name in some])
                for name, others in zip(some, answers, strict=True):
                    if (state := presence_of(others)) is not None:
                        found[name] = state
        except RedisUnavailable:
            self.guesses += 1
        return found

    async def remote_connections(self) -> int:
        """Ask how many connections other nodes have."""
        return sum(connections_of(entry.value) for entry in await self._remote(_EVERYBODY))

    def notify(self, room: str, user: str, state: PresenceState | Literal["offline"]) -> None:
        """Tell a room how a user looks now."""
        self._notify(room, user, state)

    def on_written(self, change: Change) -> None:
        """Tell rooms what is news to the whole cluster in what this node has come to say."""
        kind, user = change.subject
        if kind == "places":
            for room, state in room_changes(change.before, change.after, change.remote):
                self._notify(room, user, state)
        elif kind == "user" and change.before:
            was = presence_of(change.remote, change.before.get(""))
            now = presence_of(change.remote, change.after.get(""))
            if was is not None and now is not None and was != now:
                telling = asyncio.create_task(self._notify_rooms(user, now))
                self._notifying.add(telling)
                telling.add_done_callback(self._notifying.discard)

    async def _notify_rooms(self, user: str, state: PresenceState) -> None:
        """Tell all rooms that the user hears, on whatever node."""
        rooms = set(self._shared_state.local(_places(user)))
        rooms.update(entry.name for entry in await self._remote(_places(user)))
        for room in rooms:
            self._notify(room, user, state)

    async def _remote(self, subject: Subject) -> Collection[Entry]:
        """Ask what other nodes say of something: nothing, as far as this node knows, while Redis is down."""
        try:
            [others] = await self._shared_state.read_remote([subject])
        except RedisUnavailable:
            self.guesses += 1
            return ()
        return others

    async def _fits(self, user: str, address: str) -> bool:
        if not self._max_per_user and not self._max_per_address:
            return True
        # Of those who come at the same moment, the first are let in: so each is compared as it came.
        mine = self._count.of_user[user], self._count.of_address[address]
        try:
            # Both are asked for before anything is waited for, so that one round trip brings both.
            answers = self._shared_state.remote(_user(user)), self._shared_state.remote(_address(address))
            of_user, of_address = await asyncio.gather(*answers)
        except RedisUnavailable:
            self.guesses += 1
            return True  # as far as this node knows
        return _within(self._max_per_user, mine[0], of_user) and _within(self._max_per_address, mine[1], of_address)

    def _set_counts(self, user: str, address: str) -> None:
        self._set_user(user)
        self._shared_state.set(_EVERYBODY, "", _said(self._count.of_all))
        if self._max_per_address:
            self._shared_state.set(_address(address), "", _said(self._count.of_address[address]))

    def _set_user(self, user: str) -> None:
        count = self._count.of_user[user]
        state = self._states.get(user, "online" if count else None)
        self._shared_state.set(_user(user), "", None if state is None else f"{count} {state}")


class LocalCount:
    """How many connections there are here, of each user and from each address; 0 for however many there may be."""

    def __init__(self, max_per_user: int, max_per_address: int) -> None:
        self._max_per_user = max_per_user
        self._max_per_address = max_per_address
        self.of_user: Counter[str] = Counter()
        self.of_address: Counter[str] = Counter()
        self.of_all = 0

    def admit(self, user: str, address: str) -> bool:
        """Count one more in, if it may be."""
        if 0 < self._max_per_user <= self.of_user[user] or 0 < self._max_per_address <= self.of_address[address]:
            return False
        self.of_user[user] += 1
        self.of_address[address] += 1
        self.of_all += 1
        return True

    def release(self, user: str, address: str) -> None:
        """Count one out."""
        self.of_all -= 1
        for counter, key in ((self.of_user, user), (self.of_address, address)):
            counter[key] -= 1
            if counter[key] <= 0:
                del counter[key]


def presence_of(others: Iterable[Entry], mine: str | None = None) -> PresenceState | None:
    """Tell how a user looks to all nodes together: online if to any, else away if to any."""
    found = {_state(entry.value) for entry in others} | {_state(mine)}
    return "online" if "online" in found else "away" if "away" in found else None


def connections_of(value: str | None) -> int:
    """Tell how many connections a node says that there are; of what is not of our making, none."""
    digits = (value or "").partition(" ")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0


def room_changes(
    before: dict[str, str | None], after: dict[str, str | None], others: Collection[Entry]
) -> list[tuple[str, Literal["online", "offline"]]]:
    """Tell in which rooms a user has come or gone, who does not hear them on another node."""
    elsewhere = {entry.name for entry in others}
    return [
        (room, "online" if after[room] else "offline")
        for room, was in before.items()
        if bool(was) != bool(after[room]) and room not in elsewhere
    ]


def _within(most: int, mine: int, others: Iterable[Entry]) -> bool:
    return not most or mine + sum(connections_of(entry.value) for entry in others) <= most


def _state(value: str | None) -> PresenceState | None:
    found = _USER.fullmatch(value or "")
    if found is None:
        return None
    return "online" if found[2] == "online" else "away"


def _said(count: int) -> str | None:
    return str(count) if count else None


_EVERYBODY: Subject = ("connections", "all")


def _user(name: str) -> Subject:
    return "user", name


def _places(user: str) -> Subject:
    return "places", user


def _address(address: str) -> Subject:
    return "address", address


def _no_news(_room: str, _user: str, _state: str) -> None:
    """Take no news."""
