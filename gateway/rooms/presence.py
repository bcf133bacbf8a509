"""The presence of users: online, away after a while without a message, or offline.

A phone in a tunnel should not flicker. A user without connections counts as present for some more seconds. A user that
returns within that time has never left.

This module counts what is on this node. The roster knows the other nodes, and so which changes concern the cluster.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import orjson

from gateway.bus.base import Bus, ToRoom
from gateway.cluster.presence_fields import PresenceState
from gateway.cluster.roster import Roster
from gateway.connections.registry import Connection
from gateway.core.clock import Clock
from gateway.core.faults import contained
from gateway.core.timers import Timer, TimerWheel
from gateway.rooms.custom_states import CustomStates
from gateway.rooms.last_seen import LastSeen
from gateway.store import users
from gateway.store.engine import Database
from gateway.store.prepared import Rows, items_of
from gateway.transport import frames
from handlers.errors import Unavailable
from schemas.base import timestamp
from schemas.events.presence import PresenceChanged
from schemas.messages.presence import State, UserPresence

GRACE_SECONDS = 15


@dataclass
class _User:
    """A user that is connected, or was a moment ago."""

    name: str
    id: str
    connections: set[Connection] = field(default_factory=set)
    leaving: Timer | None = None
    idling: Timer | None = None
    away: bool = False

    @property
    def state(self) -> PresenceState:
        return "away" if self.away else "online"

    def rooms(self) -> set[str]:
        return set().union(*(connection.joined for connection in self.connections))


@dataclass
class _RoomPresence:
    """A user in a room that some of the user's connections are subscribed to, or were a moment ago."""

    connections: int = 0
    leaving: Timer | None = None


class Presence:
    """Counts the connections of users, in all and in rooms, and announces changes to the rooms."""

    def __init__(
        self,
        timers: TimerWheel,
        bus: Bus,
        clock: Clock,
        away_seconds: float,
        roster: Roster,
        last_seen: LastSeen,
        database: Database,
    ) -> None:
        self._timers = timers
        self._bus = bus
        self._clock = clock
        self._away_seconds = away_seconds
        self._users: dict[str, _User] = {}
        self._places: dict[tuple[str, str], _RoomPresence] = {}
        self._announcing: dict[asyncio.Task[None], tuple[str, str]] = {}
        self._roster = roster
        self._last_seen = last_seen
        self._database = database
        self.custom = CustomStates(roster)
        """The custom states of users in rooms."""
        roster.on_change(self._announce)

    async def get(self, last_seen: Mapping[str, int | None]) -> tuple[UserPresence, ...]:
        """Return the presence of users. `last_seen` is the store's knowledge of them, in milliseconds since 1970."""
        # For users that are online here, other nodes' states make no difference.
        elsewhere = await self._roster.remote_states([name for name in last_seen if self._state(name) != "online"])
        return tuple(self._to_schema(name, elsewhere.get(name), seen) for name, seen in last_seen.items())

    def _to_schema(self, name: str, elsewhere: PresenceState | None, last_seen_at: int | None) -> UserPresence:
        state = "online" if elsewhere == "online" else self._state(name) or elsewhere
        if state is not None:
            return UserPresence(user=name, state=state)
        last_seen = None if last_seen_at is None else timestamp(last_seen_at)
        return UserPresence(user=name, state="offline", last_seen=last_seen)

    def _state(self, name: str) -> PresenceState | None:
        user = self._users.get(name)
        return None if user is None else user.state

    def connect(self, connection: Connection) -> None:
        """Count a new connection."""
        user = self._users.get(connection.user)
        if user is None:
            user = self._users[connection.user] = _User(connection.user, connection.user_id)
            self._roster.set_state(user.name, None, user.state, user.rooms)
        _cancel(user.leaving)
        user.leaving = None
        user.connections.add(connection)
        if user.away:
            self._set_online(user)
        elif user.idling is None and self._away_seconds:
            user.idling = self._timers.call_later(self._away_seconds, partial(self._check_idle, user))

    def disconnect(self, connection: Connection) -> None:
        """Remove a connection from the count."""
        user = self._users[connection.user]
        user.connections.remove(connection)
        if not user.connections:
            user.leaving = self._timers.call_later(GRACE_SECONDS, partial(self._set_offline, user))
            self._last_seen.record(user.id)

    def enter_room(self, room: str, connection: Connection) -> None:
        """Record that a connection is subscribed to a room."""
        place = self._places.get((room, connection.user))
        if place is None:
            place = self._places[room, connection.user] = _RoomPresence()
            self._roster.enter_room(room, connection.user)
        _cancel(place.leaving)
        place.leaving = None
        place.connections += 1

    def leave_room(self, room: str, connection: Connection) -> None:
        """Record that a connection is no longer subscribed to a room."""
        place = self._places.get((room, connection.user))
        if place is None:
            return
        place.connections -= 1
        if place.connections == 0:
            gone = partial(self._leave_room, room, connection.user)
            place.leaving = self._timers.call_later(GRACE_SECONDS, gone)

    def drop_from_room(self, room: str, name: str) -> None:
        """Record that a user is no longer a member of a room, which another event announces."""
        self.custom.forget(room, name)
        for task, about in self._announcing.items():  # mostly none
            if about == (room, name):
                task.cancel()
        place = self._places.pop((room, name), None)
        if place is not None:
            _cancel(place.leaving)
            self._roster.drop_from_room(room, name)

    def _set_offline(self, user: _User) -> None:
        _cancel(user.idling)
        del self._users[user.name]
        self._roster.set_state(user.name, user.state, None, user.rooms)

    def _leave_room(self, room: str, name: str) -> None:
        del self._places[room, name]
        self._roster.leave_room(room, name)

    def _check_idle(self, user: _User) -> None:
        now = self._clock.steady()
        last = max((connection.last_message_at for connection in user.connections), default=now)
        left = last + self._away_seconds - now
        if left > 0:
            user.idling = self._timers.call_later(left, partial(self._check_idle, user))
            return
        user.idling = None
        user.away = True
        for connection in user.connections:
            connection.on_message = partial(self._set_online, user)
        self._roster.set_state(user.name, "online", "away", user.rooms)

    def _set_online(self, user: _User) -> None:
        user.away = False
        for connection in user.connections:
            connection.on_message = None
        user.idling = self._timers.call_later(self._away_seconds, partial(self._check_idle, user))
        self._roster.set_state(user.name, "away", "online", user.rooms)

    def _announce(self, room: str, name: str, state: State, custom: str | None) -> None:
        with contained("presence"):  # one of many rooms, or of many users of a dead node
            change = self._change(room, name, state, custom)
            # A user that is announced as offline has no connection that could receive this.
            is_elsewhere = change.skip_user is None and state != "offline"
            publishing = self._publish_about(name, change) if is_elsewhere else self._publish(change)
            task = asyncio.create_task(publishing)
            self._announcing[task] = room, name
            task.add_done_callback(self._announcing.pop)

    def _change(self, room: str, name: str, state: State, custom: str | None) -> ToRoom:
        user = self._users.get(name)
        custom_state = None if custom is None else orjson.loads(custom)
        changed = PresenceChanged(room=room, user=name, state=state, custom_state=custom_state)
        event = frames.event(changed, droppable=True)
        skip = None if user is None else user.id
        return ToRoom(event, room, skip_user=skip)

    async def _publish_about(self, name: str, event: ToRoom) -> None:
        """Publish an event about a user that only other nodes know: one of them has died, or the user has left here."""
        found: Rows = []
        with contained("presence"), suppress(Unavailable):  # then the user's own connections get it too
            found = await self._database.fetch(users.IDS_BY_NAME, items=items_of([name]))
        await self._publish(replace(event, skip_user=found[0]["id"]) if found else event)

    async def _publish(self, event: ToRoom) -> None:
        with contained("presence"):
            await self._bus.publish(event)


def _cancel(timer: Timer | None) -> None:
    if timer is not None:
        timer.cancel()
