"""The connections of all users: how many a user and an address have, their presence, and the rooms they subscribe to.

A gateway in one process knows all of that by itself (`LocalRoster`). Several nodes each write their part to Redis and
read the others' parts (`SharedRoster`). While Redis is down, a node uses only its own part.
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
"""Users to read in one round trip: some milliseconds of work."""

PresenceState = Literal["online", "away"]
"""The presence of a connected user."""

OnPresenceChange = Callable[[str, str, PresenceState | Literal["offline"]], None]
"""A function that a user's change of presence in a room is passed to. It never raises, as other rooms wait."""

_USER = re.compile(r"([0-9]{1,9}) (online|away)")


class Roster(Protocol):
    """Knows the presence of users in the whole cluster.

    `enter_room`, `leave_room` and `set_state` return at once. The callback of `on_change` learns their effect soon
    after.
    """

    def on_change(self, news: OnPresenceChange) -> None:
        """Set the callback for changes of presence. Only one node calls its callback for each change."""

    async def admit(self, user: str, address: str) -> bool:
        """Count one more connection. Return False, and do not count it, if the user or the address is at its limit."""

    def release(self, user: str, address: str) -> None:
        """Remove a connection from the count."""

    def set_state(
        self, user: str, was: PresenceState | None, now: PresenceState | None, rooms: Callable[[], Collection[str]]
    ) -> None:
        """Set a user's presence on this node, None for absent. `rooms` returns the user's rooms on this node."""

    def enter_room(self, room: str, user: str) -> None:
        """Record that a user has subscribed to a room on this node."""

    def leave_room(self, room: str, user: str) -> None:
        """Record that a user no longer subscribes to a room on this node."""

    def drop_from_room(self, room: str, user: str) -> None:
        """Do what `leave_room` does, but without a change for the room: another event announces it."""

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Return the presence of users on other nodes. Users that are on none are left out."""

    async def remote_connections(self) -> int:
        """Return how many connections other nodes have."""


class LocalRoster:
    """The roster of a gateway in one process."""

    def __init__(self, max_per_user: int, max_per_address: int) -> None:
        self._count = LocalCount(max_per_user, max_per_address)
        self._notify: OnPresenceChange = _no_news

    def on_change(self, news: OnPresenceChange) -> None:
        """Set the callback for changes of presence."""
        self._notify = news

    async def admit(self, user: str, address: str) -> bool:
        """Count one more connection, if the limits allow it."""
        return self._count.admit(user, address)

    def release(self, user: str, address: str) -> None:
        """Remove a connection from the count."""
        self._count.release(user, address)

    def set_state(
        self, user: str, was: PresenceState | None, now: PresenceState | None, rooms: Callable[[], Collection[str]]
    ) -> None:
        """Report a change between online and away to the rooms. `enter_room` and `leave_room` report the others."""
        if was is not None and now is not None and was != now:
            for room in rooms():
                self._notify(room, user, now)

    def enter_room(self, room: str, user: str) -> None:
        """Report a user as online in a room."""
        self._notify(room, user, "online")

    def leave_room(self, room: str, user: str) -> None:
        """Report a user as offline in a room."""
        self._notify(room, user, "offline")

    def drop_from_room(self, room: str, user: str) -> None:
        """Do nothing: the room learns of it otherwise."""

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Return nothing: there are no other nodes."""
        return {}

    async def remote_connections(self) -> int:
        """Return 0: there are no other nodes."""
        return 0


class SharedRoster:
    """The roster of one of several nodes."""

    def __init__(self, shared_state: SharedState, max_per_user: int, max_per_address: int) -> None:
        self._shared_state = shared_state
        self._max_per_user = max_per_user
        self._max_per_address = max_per_address
        self._count = LocalCount(max_per_user, max_per_address)
        self._states: dict[str, PresenceState] = {}
        self._notify: OnPresenceChange = _no_news
        self._notifying: set[asyncio.Task[None]] = set()
        self.guesses = 0
        """How often a request was answered from this node's own numbers, because Redis was down."""

    def on_change(self, news: OnPresenceChange) -> None:
        """Set the callback for changes of presence."""
        self._notify = news

    async def admit(self, user: str, address: str) -> bool:
        """Count one more connection, if the limits allow it. This costs at most one round trip."""
        if not self._count.admit(user, address):
            return False  # this node alone has too many
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
        """Remove a connection from the count."""
        self._count.release(user, address)
        self._set_counts(user, address)

    def set_state(
        self, user: str, was: PresenceState | None, now: PresenceState | None, rooms: Callable[[], Collection[str]]
    ) -> None:
        """Set a user's presence on this node."""
        if now is None:
            self._states.pop(user, None)
        else:
            self._states[user] = now
        self._set_user(user)

    def enter_room(self, room: str, user: str) -> None:
        """Record that a user subscribes to a room here."""
        self._shared_state.set(_places(user), room, "1")

    def leave_room(self, room: str, user: str) -> None:
        """Record that a user no longer subscribes to a room here."""
        self._shared_state.set(_places(user), room, None)

    def drop_from_room(self, room: str, user: str) -> None:
        """Record the same, without a change for the room."""
        self._shared_state.set(_places(user), room, None, quietly=True)

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Read the presence of users on other nodes."""
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
        """Read how many connections other nodes have."""
        return sum(connections_of(entry.value) for entry in await self._remote(_EVERYBODY))

    def notify(self, room: str, user: str, state: PresenceState | Literal["offline"]) -> None:
        """Report a user's presence to a room."""
        self._notify(room, user, state)

    def on_written(self, change: Change) -> None:
        """Report those changes of this node that are a change for the whole cluster."""
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
        """Report a user's presence to all of its rooms, on any node."""
        rooms = set(self._shared_state.local(_places(user)))
        rooms.update(entry.name for entry in await self._remote(_places(user)))
        for room in rooms:
            self._notify(room, user, state)

    async def _remote(self, subject: Subject) -> Collection[Entry]:
        """Read the other nodes' state of a subject. While Redis is down, return nothing."""
        try:
            [others] = await self._shared_state.read_remote([subject])
        except RedisUnavailable:
            self.guesses += 1
            return ()
        return others

    async def _fits(self, user: str, address: str) -> bool:
        if not self._max_per_user and not self._max_per_address:
            return True
        # Of connections at the same moment, the first ones are admitted, so each uses its own counts.
        mine = self._count.of_user[user], self._count.of_address[address]
        try:
            # Both requests start before the first wait, so that they share one round trip.
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
    """Counts the connections of this node, of each user and from each address. A limit of 0 means any number."""

    def __init__(self, max_per_user: int, max_per_address: int) -> None:
        self._max_per_user = max_per_user
        self._max_per_address = max_per_address
        self.of_user: Counter[str] = Counter()
        self.of_address: Counter[str] = Counter()
        self.of_all = 0

    def admit(self, user: str, address: str) -> bool:
        """Count one more connection, if the limits allow it."""
        if 0 < self._max_per_user <= self.of_user[user] or 0 < self._max_per_address <= self.of_address[address]:
            return False
        self.of_user[user] += 1
        self.of_address[address] += 1
        self.of_all += 1
        return True

    def release(self, user: str, address: str) -> None:
        """Remove one connection from the count."""
        self.of_all -= 1
        for counter, key in ((self.of_user, user), (self.of_address, address)):
            counter[key] -= 1
            if counter[key] <= 0:
                del counter[key]


def presence_of(others: Iterable[Entry], mine: str | None = None) -> PresenceState | None:
    """Return a user's presence over all nodes: online if one node says so, else away if one says so."""
    found = {_state(entry.value) for entry in others} | {_state(mine)}
    return "online" if "online" in found else "away" if "away" in found else None


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
    """Ignore the change."""
