"""The custom states of users in rooms, such as "in a call", as the connections of this node have set them.

A connection has at most one state in a room, and it ends with the connection's part in the room. Of the states of a
user's connections here, the one that was set last counts. The roster knows those of other nodes.
"""

import asyncio
from functools import partial
from typing import Any

import orjson

from gateway.cluster.custom_states import Place
from gateway.cluster.roster import Roster
from gateway.connections.registry import Connection
from gateway.core.faults import contained

MERGE_SECONDS = 0.05
"""How long changes of one user in one room wait for the next ones."""


class CustomStates:
    """Merges what connections set, and passes it on to the roster."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._set: dict[Place, dict[Connection, str]] = {}
        """The states in the order in which they were set."""
        self._waiting: dict[Place, asyncio.TimerHandle] = {}

    def set(self, room: str, connection: Connection, state: str | None) -> None:
        """Set the state of a connection in a room, as JSON, or remove it with None. The room learns of it soon."""
        if not self._change(room, connection, state):
            return
        place = (room, connection.user)
        if place not in self._waiting:
            loop = asyncio.get_running_loop()
            self._waiting[place] = loop.call_later(MERGE_SECONDS, partial(self._pass_on_later, place))

    def drop(self, room: str, connection: Connection) -> None:
        """Remove the state of a connection that hears the room no more. The room learns of it at once."""
        if self._change(room, connection, None):
            self._pass_on((room, connection.user))

    def forget(self, room: str, user: str) -> None:
        """Remove all states of a user that is no longer a member. Another event announces that."""
        place = (room, user)
        if place in self._set or place in self._waiting:
            self._set.pop(place, None)
            self._stop_waiting(place)
            self._roster.set_custom_state(room, user, None, quietly=True)

    async def get(self, room: str, users: list[str]) -> dict[str, dict[str, Any]]:
        """Return the states of users in a room over all nodes. Users without one are left out."""
        unwritten = {user: self._newest((room, user)) for user in users if (room, user) in self._waiting}
        found = await self._roster.custom_states(room, users, unwritten)
        return {user: orjson.loads(state) for user, state in found.items()}

    def _change(self, room: str, connection: Connection, state: str | None) -> bool:
        """Record a state, and return whether there was or is one."""
        place = (room, connection.user)
        of_user = self._set.get(place, {})
        had = of_user.pop(connection, None)
        if state is not None:
            of_user[connection] = state
            self._set[place] = of_user
        elif had is not None and not of_user:
            del self._set[place]
        return had is not None or state is not None

    def _newest(self, place: Place) -> str | None:
        return next(reversed(self._set.get(place, {}).values()), None)

    def _pass_on_later(self, place: Place) -> None:
        with contained("presence"):
            self._pass_on(place)

    def _pass_on(self, place: Place) -> None:
        self._stop_waiting(place)
        self._roster.set_custom_state(*place, self._newest(place))

    def _stop_waiting(self, place: Place) -> None:
        timer = self._waiting.pop(place, None)
        if timer is not None:
            timer.cancel()
