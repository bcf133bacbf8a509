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

HERE = "here"
"""The field of a user that is present, while that is watched. Like a room's, it has no other value."""

USER = "user"
ROOM = "heard"
"""The kinds of the subjects of a user, and of a room that users hear."""

_USER = re.compile(r"([0-9]{1,9}) (online|away)")


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
        if self._here.set_user(user, present=now is not None):
            self._watched.user_changed(user, connected=now is not None)
        if was is not None and now is not None and was != now:
            for room in rooms():
                self._notify(room, user, now)

    def enter_room(self, room: str, user: str) -> None:
        """Report a user as online in a room."""
        if self._here.enter(room, user):
            self._watched.room_changed(room, occupied=True)
        self._notify(room, user, "online")

    def leave_room(self, room: str, user: str) -> None:
        """Report a user as offline in a room."""
        self.drop_from_room(room, user)
        self._notify(room, user, "offline")

    def drop_from_room(self, room: str, user: str) -> None:
        """Report nothing to the room: it learns of it otherwise."""
        if self._here.leave(room, user):
            self._watched.room_changed(room, occupied=False)

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
        self._notifying: set[asyncio.Task[None]] = set()
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
        if now is None:
            self._states.pop(user, None)
        else:
            self._states[user] = now
        self._set_user(user)
        if self._here.set_user(user, present=now is not None) and self._watched.users:
            self._show_user(user, present=now is not None)

    def enter_room(self, room: str, user: str) -> None:
        """Record that a user subscribes to a room here."""
        self._shared_state.set(_places(user), room, "1")
        if self._here.enter(room, user) and self._watched.rooms:
            self._show_room(room, present=True)

    def leave_room(self, room: str, user: str) -> None:
        """Record that a user no longer subscribes to a room here."""
        self._shared_state.set(_places(user), room, None)
        self._leave(room, user)

    def drop_from_room(self, room: str, user: str) -> None:
        """Record the same, without a change for the room."""
        self._shared_state.set(_places(user), room, None, quietly=True)
        self._leave(room, user)

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

    async def connected(self, users: Sequence[str]) -> set[str]:
        """Read which of some users have a connection. While Redis is down, only those of this node count."""
        found = {user for user in users if user in self._count.of_user}
        try:
            for some in batches(users, READ_BATCH):
                answers = await self._shared_state.read_remote([_user(name) for name in some])
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
        subjects = [*map(_user, users), *map(room_subject, rooms)]
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

    def notify(self, room: str, user: str, state: PresenceState | Literal["offline"]) -> None:
        """Report a user's presence to a room."""
        self._notify(room, user, state)

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
                self._notify(room, user, state)
        self._report_presence(change)
        if kind == USER and change.before:
            was = presence_of(change.remote, change.before.get(""))
            now = presence_of(change.remote, change.after.get(""))
            if was is not None and now is not None and was != now:
                telling = asyncio.create_task(self._notify_rooms(user, now))
                self._notifying.add(telling)
                telling.add_done_callback(self._notifying.discard)

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
        self._shared_state.set(_user(user), HERE, HERE if present else None)

    def _show_room(self, room: str, *, present: bool) -> None:
        self._shared_state.set(room_subject(room), HERE, HERE if present else None)

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

    async def _fits(self, user: str, address: str, most: int) -> bool:
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
        return _within(most, mine[0], of_user) and _within(self._max_per_address, mine[1], of_address)

    def _set_counts(self, user: str, address: str) -> None:
        self._set_user(user)
        self._shared_state.set(_EVERYBODY, "", _said(self._count.of_all))
        if self._max_per_address:
            self._shared_state.set(_address(address), "", _said(self._count.of_address[address]))

    def _set_user(self, user: str) -> None:
        count = self._count.of_user[user]
        state = self._states.get(user, "online" if count else None)
        self._shared_state.set(_user(user), "", None if state is None else f"{count} {state}")


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
    return USER, name


def room_subject(room: str) -> Subject:
    """Return the subject of a room that users hear."""
    return ROOM, room


def _counts(entry: Entry) -> bool:
    return connections_of(entry.value) > 0


def _places(user: str) -> Subject:
    return "places", user


def _address(address: str) -> Subject:
    return "address", address


def _no_news(_room: str, _user: str, _state: str) -> None:
    """Ignore the change."""
