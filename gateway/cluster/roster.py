"""The connections of all users: how many a user and an address have, their presence, and the rooms they subscribe to.

A gateway in one process knows all of that by itself (`LocalRoster`). Several nodes each write their part to Redis and
read the others' parts (`SharedRoster`). While Redis is down, a node uses only its own part.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol, TypeVar

from gateway.bus.redis_commands import RedisUnavailable
from gateway.cluster.custom_states import CUSTOM_STATE, SharedCustomStates, place_of, text_of
from gateway.cluster.presence_fields import (
    HERE,
    ROOM,
    USER,
    OnPresenceChange,
    PresenceState,
    connections_of,
    is_here,
    places_of,
    presence_of,
    room_changes,
    room_subject,
    user_subject,
)
from gateway.cluster.presence_reports import PresenceReports, Report
from gateway.cluster.shared_state import Change, Entry, SharedState, Subject
from gateway.core.batches import batches

READ_BATCH = 200
"""Users to read in one round trip: some milliseconds of work."""

NOTHING: Mapping[str, str | None] = MappingProxyType({})

Key = TypeVar("Key")
Value = TypeVar("Value")


class Watcher(Protocol):
    """Learns of users and rooms as the whole cluster sees them. Only one node learns of each change."""

    def user_changed(self, user: str, *, connected: bool) -> None:
        """Learn that a user is now present in the cluster, or no longer."""

    def room_changed(self, room: str, *, occupied: bool) -> None:
        """Learn that a room now has a user that hears it, or no longer."""


class Roster(Protocol):
    """Knows the presence of users in the whole cluster.

    `enter_room`, `leave_room` and `set_state` return at once. The callback of `on_change` learns their effect soon
    after.
    """

    def on_change(self, news: OnPresenceChange) -> None:
        """Set the callback for changes of presence. Only one node calls its callback for each change."""

    async def admit(self, user: str, address: str, most: int | None = None) -> bool:
        """Count one more connection. Return False, and do not count it, if the user or the address is at its limit.

        `most` replaces the limit of users, if it is higher and they have one.
        """

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

    def set_custom_state(self, room: str, user: str, state: str | None, *, quietly: bool = False) -> None:
        """Set a user's custom state in a room on this node, as JSON, or remove it with None.

        The room learns of a change, unless it happens `quietly`: then another event announces it.
        """

    async def custom_states(
        self, room: str, users: Sequence[str], unwritten: Mapping[str, str | None] = NOTHING
    ) -> dict[str, str]:
        """Return the custom states of users in a room that count, over all nodes. Users without one are left out.

        `unwritten` has states of this node that will be set in a moment, so they count more than any other.
        """

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Return the presence of users on other nodes. Users that are on none are left out."""

    async def remote_connections(self) -> int:
        """Return how many connections other nodes have."""

    async def connected(self, users: Sequence[str]) -> set[str]:
        """Return those of some users that have a connection on any node. A user that left a moment ago has none."""

    def watch(self, watcher: Watcher | None, *, users: bool, rooms: bool) -> None:
        """Report changes of users, of rooms or of both from now on, or of neither. All that are here are reported."""

    def present_here(self) -> tuple[set[str], set[str]]:
        """Return the users that are present on this node, and the rooms that they hear."""

    async def present_anywhere(self, users: Sequence[str], rooms: Sequence[str]) -> tuple[set[str], set[str]] | None:
        """Return those of some watched users and rooms that are present on any node, or None if that is unknown."""


class LocalRoster:
    """The roster of a gateway in one process."""

    def __init__(self, max_per_user: int, max_per_address: int) -> None:
        self._count = LocalCount(max_per_user, max_per_address)
        self._states: dict[str, PresenceState] = {}
        self._custom: dict[tuple[str, str], str] = {}
        self._notify: OnPresenceChange = _no_news
        self._here = PresentHere()
        self._watched = Watched()

    def on_change(self, news: OnPresenceChange) -> None:
        """Set the callback for changes of presence."""
        self._notify = news

    async def admit(self, user: str, address: str, most: int | None = None) -> bool:
        """Count one more connection, if the limits allow it."""
        return self._count.admit(user, address, most)

    def release(self, user: str, address: str) -> None:
        """Remove a connection from the count."""
        self._count.release(user, address)

    def set_state(
        self, user: str, was: PresenceState | None, now: PresenceState | None, rooms: Callable[[], Collection[str]]
    ) -> None:
        """Report a change between online and away to the rooms. `enter_room` and `leave_room` report the others."""
        _keep(self._states, user, now)
        if self._here.set_user(user, present=now is not None):
            self._watched.user_changed(user, connected=now is not None)
        if was is not None and now is not None and was != now:
            for room in rooms():
                self._notify(room, user, now, self._custom.get((room, user)))

    def enter_room(self, room: str, user: str) -> None:
        """Report a user as online in a room."""
        if self._here.enter(room, user):
            self._watched.room_changed(room, occupied=True)
        self._notify(room, user, "online", None)

    def leave_room(self, room: str, user: str) -> None:
        """Report a user as offline in a room."""
        self.drop_from_room(room, user)
        self._notify(room, user, "offline", None)

    def drop_from_room(self, room: str, user: str) -> None:
        """Report nothing to the room: it learns of it otherwise."""
        if self._here.leave(room, user):
            self._watched.room_changed(room, occupied=False)

    def set_custom_state(self, room: str, user: str, state: str | None, *, quietly: bool = False) -> None:
        """Set a user's custom state in a room, and report it to the room."""
        was = self._custom.get((room, user))
        _keep(self._custom, (room, user), state)
        if was != state and not quietly:
            self._notify(room, user, self._states.get(user, "online"), state)

    async def custom_states(
        self, room: str, users: Sequence[str], unwritten: Mapping[str, str | None] = NOTHING
    ) -> dict[str, str]:
        """Return the custom states of users in a room."""
        found = {user: self._custom.get((room, user)) for user in users} | {**unwritten}
        return {user: state for user, state in found.items() if state is not None}

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Return nothing: there are no other nodes."""
        return {}

    async def remote_connections(self) -> int:
        """Return 0: there are no other nodes."""
        return 0

    async def connected(self, users: Sequence[str]) -> set[str]:
        """Return those of some users that have a connection."""
        return {user for user in users if user in self._count.of_user}

    def watch(self, watcher: Watcher | None, *, users: bool, rooms: bool) -> None:
        """Report changes from now on, and all that are here."""
        before, self._watched = self._watched, Watched(watcher, users=users, rooms=rooms)
        for user in self._here.users if not before.users else ():
            self._watched.user_changed(user, connected=True)
        for room in self._here.rooms if not before.rooms else ():
            self._watched.room_changed(room, occupied=True)

    def present_here(self) -> tuple[set[str], set[str]]:
        """Return the users that are present, and the rooms that they hear."""
        return set(self._here.users), set(self._here.rooms)

    async def present_anywhere(self, users: Sequence[str], rooms: Sequence[str]) -> tuple[set[str], set[str]] | None:
        """Return those that are here: there are no other nodes."""
        return self._here.users.intersection(users), self._here.rooms.keys() & set(rooms)


class SharedRoster:
    """The roster of one of several nodes."""

    def __init__(self, shared_state: SharedState, max_per_user: int, max_per_address: int) -> None:
        self._shared_state = shared_state
        self._max_per_user = max_per_user
        self._max_per_address = max_per_address
        self._count = LocalCount(max_per_user, max_per_address)
        self._states: dict[str, PresenceState] = {}
        self._notify: OnPresenceChange = _no_news
        self._here = PresentHere()
        self._watched = Watched()
        self._custom = SharedCustomStates(shared_state)
        self._reports = PresenceReports(shared_state, self._custom, self._read_remote, self._report)
        self.guesses = 0
        """How often a request was answered from this node's own numbers, because Redis was down."""

    def on_change(self, news: OnPresenceChange) -> None:
        """Set the callback for changes of presence."""
        self._notify = news

    async def admit(self, user: str, address: str, most: int | None = None) -> bool:
        """Count one more connection, if the limits allow it. This costs at most one round trip."""
        if not self._count.admit(user, address, most):
            return False  # this node alone has too many
        self._set_counts(user, address)
        try:
            fits = await self._fits(user, address, self._count.most_of(most))
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
        _keep(self._states, user, now)
        self._set_user(user)
        if self._here.set_user(user, present=now is not None) and self._watched.users:
            self._show_user(user, present=now is not None)

    def enter_room(self, room: str, user: str) -> None:
        """Record that a user subscribes to a room here."""
        self._shared_state.set(places_of(user), room, "1")
        if self._here.enter(room, user) and self._watched.rooms:
            self._show_room(room, present=True)

    def leave_room(self, room: str, user: str) -> None:
        """Record that a user no longer subscribes to a room here."""
        self._shared_state.set(places_of(user), room, None)
        self._leave(room, user)

    def drop_from_room(self, room: str, user: str) -> None:
        """Record the same, without a change for the room."""
        self._shared_state.set(places_of(user), room, None, quietly=True)
        self._leave(room, user)

    def set_custom_state(self, room: str, user: str, state: str | None, *, quietly: bool = False) -> None:
        """Set a user's custom state in a room on this node."""
        self._custom.set(room, user, state, quietly=quietly)

    async def custom_states(
        self, room: str, users: Sequence[str], unwritten: Mapping[str, str | None] = NOTHING
    ) -> dict[str, str]:
        """Read the custom states of users in a room. While Redis is down, only those of this node count."""
        read = [(room, user) for user in users if unwritten.get(user) is None]
        outdated = {(room, user) for user in unwritten}
        found = await self._custom.read(read, self._read_remote, outdated)
        states = {user: state for (_, user), state in found.items()}
        return states | {user: state for user, state in unwritten.items() if state is not None}

    async def remote_states(self, users: Sequence[str]) -> dict[str, PresenceState]:
        """Read the presence of users on other nodes."""
        found: dict[str, PresenceState] = {}
        try:
            for some in batches(users, READ_BATCH):
                answers = await self._shared_state.read_remote([user_subject(name) for name in some])
                for name, others in zip(some, answers, strict=True):
                    if (state := presence_of(others)) is not None:
                        found[name] = state
        except RedisUnavailable:
            self.guesses += 1
        return found

    async def remote_connections(self) -> int:
        """Read how many connections other nodes have."""
        return sum(connections_of(entry.value) for entry in await self._remote(_EVERYBODY))

    async def connected(self, users: Sequence[str]) -> set[str]:
        """Read which of some users have a connection. While Redis is down, only those of this node count."""
        found = {user for user in users if user in self._count.of_user}
        try:
            for some in batches(users, READ_BATCH):
                answers = await self._shared_state.read_remote([user_subject(name) for name in some])
                found.update(name for name, others in zip(some, answers, strict=True) if any(map(_counts, others)))
        except RedisUnavailable:
            self.guesses += 1
        return found

    def watch(self, watcher: Watcher | None, *, users: bool, rooms: bool) -> None:
        """Show the others what is here, so that one node reports each change of the cluster, or show it no longer."""
        before, self._watched = self._watched, Watched(watcher, users=users, rooms=rooms)
        if before.users != users:
            for user in self._here.users:
                self._show_user(user, present=users)
        if before.rooms != rooms:
            for room in self._here.rooms:
                self._show_room(room, present=rooms)

    def present_here(self) -> tuple[set[str], set[str]]:
        """Return the users that are present on this node, and the rooms that they hear."""
        return set(self._here.users), set(self._here.rooms)

    async def present_anywhere(self, users: Sequence[str], rooms: Sequence[str]) -> tuple[set[str], set[str]] | None:
        """Read which of some users and rooms are present on any node. While Redis is down, return None."""
        found = self._here.users.intersection(users), self._here.rooms.keys() & set(rooms)
        subjects = [*map(user_subject, users), *map(room_subject, rooms)]
        try:
            for some in batches(subjects, READ_BATCH):
                answers = await self._shared_state.read_remote(some)
                for (kind, name), others in zip(some, answers, strict=True):
                    if is_here(others):
                        found[kind == ROOM].add(name)
        except RedisUnavailable:
            self.guesses += 1
            return None
        return found

    def report_offline(self, room: str, user: str) -> None:
        """Report to a room that a user has gone with a dead node."""
        self._notify(room, user, "offline", None)

    def report_custom_state(self, room: str, user: str) -> None:
        """Report to a room that a user's custom state has gone with a dead node, if the user is on another one."""
        self._reports.add(Report(user, frozenset({room})))

    def report_gone(self, kind: str, name: str) -> None:
        """Report a user or a room that was present on a dead node alone."""
        if kind == ROOM:
            self._watched.room_changed(name, occupied=False)
        else:
            self._watched.user_changed(name, connected=False)

    def on_written(self, change: Change) -> None:
        """Report those changes of this node that are a change for the whole cluster."""
        kind, user = change.subject
        if kind == "places":
            for room, state in room_changes(change.before, change.after, change.remote):
                self._notify(room, user, state, text_of(self._custom.get(room, user)) if state == "online" else None)
        if kind == CUSTOM_STATE:
            self._report_custom_state(change)
        self._report_presence(change)
        if kind == USER and change.before:
            was = presence_of(change.remote, change.before.get(""))
            now = presence_of(change.remote, change.after.get(""))
            if was is not None and now is not None and was != now:
                self._reports.add(Report(user, state=now))

    def _report_presence(self, change: Change) -> None:
        """Report a user or a room that is now present in the cluster, or no longer, because of this node."""
        kind, name = change.subject
        if kind not in {ROOM, USER} or HERE not in change.before or is_here(change.remote):
            return
        was, now = bool(change.before[HERE]), bool(change.after[HERE])
        if was != now and kind == ROOM:
            self._watched.room_changed(name, occupied=now)
        elif was != now:
            self._watched.user_changed(name, connected=now)

    def _leave(self, room: str, user: str) -> None:
        if self._here.leave(room, user) and self._watched.rooms:
            self._show_room(room, present=False)

    def _show_user(self, user: str, *, present: bool) -> None:
        self._shared_state.set(user_subject(user), HERE, HERE if present else None)

    def _show_room(self, room: str, *, present: bool) -> None:
        self._shared_state.set(room_subject(room), HERE, HERE if present else None)

    def _report_custom_state(self, change: Change) -> None:
        """Report a change of the custom state that counts over all nodes."""
        was, now = self._custom.on_written(change)
        if was == now:
            return
        room, user = place_of(change.subject[1])
        hears = room in self._shared_state.local(places_of(user))  # or the membership has ended since the write
        if hears and self._states.get(user) == "online" and self._reports.is_idle:
            self._notify(room, user, "online", now)  # no other node can know better
        else:
            self._reports.add(Report(user, frozenset({room})))

    def _report(self, room: str, user: str, state: PresenceState | Literal["offline"], custom: str | None) -> None:
        self._notify(room, user, state, custom)

    async def _read_remote(self, subjects: Sequence[Subject]) -> Sequence[Collection[Entry]]:
        """Read the other nodes' state of subjects. While Redis is down, return nothing about each."""
        found: list[Collection[Entry]] = []
        try:
            for some in batches(subjects, READ_BATCH):
                found += await self._shared_state.read_remote(some)
        except RedisUnavailable:
            self.guesses += 1
            return [()] * len(subjects)
        return found

    async def _remote(self, subject: Subject) -> Collection[Entry]:
        """Read the other nodes' state of a subject. While Redis is down, return nothing."""
        [others] = await self._read_remote([subject])
        return others

    async def _fits(self, user: str, address: str, most: int) -> bool:
        if not self._max_per_user and not self._max_per_address:
            return True
        # Of connections at the same moment, the first ones are admitted, so each uses its own counts.
        mine = self._count.of_user[user], self._count.of_address[address]
        try:
            # Both requests start before the first wait, so that they share one round trip.
            answers = self._shared_state.remote(user_subject(user)), self._shared_state.remote(_address(address))
            of_user, of_address = await asyncio.gather(*answers)
        except RedisUnavailable:
            self.guesses += 1
            return True  # as far as this node knows
        return _within(most, mine[0], of_user) and _within(self._max_per_address, mine[1], of_address)

    def _set_counts(self, user: str, address: str) -> None:
        self._set_user(user)
        self._shared_state.set(_EVERYBODY, "", _said(self._count.of_all))
        if self._max_per_address:
            self._shared_state.set(_address(address), "", _said(self._count.of_address[address]))

    def _set_user(self, user: str) -> None:
        count = self._count.of_user[user]
        state = self._states.get(user, "online" if count else None)
        self._shared_state.set(user_subject(user), "", None if state is None else f"{count} {state}")


class Watched:
    """What is watched, and where changes go."""

    def __init__(self, watcher: Watcher | None = None, *, users: bool = False, rooms: bool = False) -> None:
        self._watcher = watcher
        self.users = users
        self.rooms = rooms

    def user_changed(self, user: str, *, connected: bool) -> None:
        """Report a user, if users are watched."""
        if self._watcher is not None and self.users:
            self._watcher.user_changed(user, connected=connected)

    def room_changed(self, room: str, *, occupied: bool) -> None:
        """Report a room, if rooms are watched."""
        if self._watcher is not None and self.rooms:
            self._watcher.room_changed(room, occupied=occupied)


class PresentHere:
    """The users that are present on this node, and the rooms that they hear."""

    def __init__(self) -> None:
        self.users: set[str] = set()
        self.rooms: dict[str, set[str]] = {}

    def set_user(self, user: str, *, present: bool) -> bool:
        """Record that a user is present or not, and return whether this is a change."""
        if present == (user in self.users):
            return False
        if present:
            self.users.add(user)
        else:
            self.users.remove(user)
        return True

    def enter(self, room: str, user: str) -> bool:
        """Record that a user hears a room, and return whether it is the first one."""
        users = self.rooms.setdefault(room, set())
        users.add(user)
        return len(users) == 1

    def leave(self, room: str, user: str) -> bool:
        """Record that a user no longer hears a room, and return whether it was the last one."""
        users = self.rooms.get(room, set())
        if user not in users:
            return False
        users.remove(user)
        if users:
            return False
        del self.rooms[room]
        return True


class LocalCount:
    """Counts the connections of this node, of each user and from each address. A limit of 0 means any number."""

    def __init__(self, max_per_user: int, max_per_address: int) -> None:
        self._max_per_user = max_per_user
        self._max_per_address = max_per_address
        self.of_user: Counter[str] = Counter()
        self.of_address: Counter[str] = Counter()
        self.of_all = 0

    def most_of(self, most: int | None) -> int:
        """Return how many connections a user may have, with the limit of its own if there is one. 0 is any number."""
        return max(self._max_per_user, most or 0) if self._max_per_user else 0

    def admit(self, user: str, address: str, most: int | None = None) -> bool:
        """Count one more connection, if the limits allow it."""
        if 0 < self.most_of(most) <= self.of_user[user] or 0 < self._max_per_address <= self.of_address[address]:
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


def _within(most: int, mine: int, others: Iterable[Entry]) -> bool:
    return not most or mine + sum(connections_of(entry.value) for entry in others) <= most


def _said(count: int) -> str | None:
    return str(count) if count else None


_EVERYBODY: Subject = ("connections", "all")


def _counts(entry: Entry) -> bool:
    return connections_of(entry.value) > 0


def _address(address: str) -> Subject:
    return "address", address


def _keep(values: dict[Key, Value], key: Key, value: Value | None) -> None:
    """Store a value, or remove it with None."""
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value


def _no_news(_room: str, _user: str, _state: str, _custom: str | None) -> None:
    """Ignore the change."""
