"""Takes the users of a dead node offline.

It works in batches, and removes a user from the node's list only when all is done for that user. If this node dies as
well, another one continues where it stopped.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial

from gateway.bus.redis_commands import Command, RedisCommands
from gateway.cluster.custom_states import CUSTOM_STATE, Place, newest, place_of, states_of
from gateway.cluster.nodes import Nodes
from gateway.cluster.presence_fields import ROOM, USER, connections_of, is_here, presence_of
from gateway.cluster.roster import SharedRoster
from gateway.cluster.shared_state import Entry, SharedState, Subject, entries, hash_key, index_key, subject_of
from gateway.core.clock import Clock, milliseconds
from gateway.core.faults import contained
from gateway.store import users
from gateway.store.engine import Database
from schemas.names import ROOM_NAME, USER_NAME

BATCH = 200


@dataclass
class _Gone:
    """The effect of a node's end on some subjects."""

    unseen: list[str] = field(default_factory=list)
    """Users that were connected only to the dead node."""
    rooms: list[tuple[str, str]] = field(default_factory=list)
    """Rooms, each with a user that was a subscriber there only on the dead node."""
    custom: list[Place] = field(default_factory=list)
    """Rooms, each with a user that had the custom state of the dead node there."""
    watched: list[Subject] = field(default_factory=list)
    """Users and rooms that were present only on the dead node, and are watched."""


class DeadNodeReaper:
    """Takes the users of dead nodes offline."""

    def __init__(
        self,
        redis: RedisCommands,
        nodes: Nodes,
        shared_state: SharedState,
        prefix: str,
        database: Database,
        roster: SharedRoster,
        clock: Clock,
    ) -> None:
        self._redis = redis
        self._nodes = nodes
        self._shared_state = shared_state
        self._prefix = prefix
        self._database = database
        self._clock = clock
        self._roster = roster
        self.users_reaped = 0
        """How many users it has taken offline."""

    async def reap(self, node: str, silent_seconds: float) -> bool:
        """Take some of a node's users offline, and return whether there may be more.

        Raise an error if Redis or the store is down. A later call does the rest.
        """
        index = index_key(self._prefix, node)
        [members] = await self._redis.execute([("SRANDMEMBER", index, BATCH)])
        if not members:
            return False
        subjects = [subject_of(member) for member in members]
        said = await self._redis.execute([("HGETALL", hash_key(self._prefix, subject)) for subject in subjects])
        about = {subject: entries(answer) for subject, answer in zip(subjects, said, strict=True)}
        gone = _Gone()
        for subject, found in about.items():
            with contained("dead_nodes"):
                self._find_gone(node, subject, found, gone)
        await self._save(gone.unseen, silent_seconds)
        for room, user in gone.rooms:
            self._roster.report_offline(room, user)
        for room, user in gone.custom:
            self._roster.report_custom_state(room, user)
        for kind, name in gone.watched:
            self._roster.report_gone(kind, name)
        removals: list[Command] = [
            ("HDEL", hash_key(self._prefix, subject), *names)
            for subject, found in about.items()
            if (names := [f"{node} {entry.name}" for entry in found if entry.node == node])
        ]
        await self._redis.execute([*removals, ("SREM", index, *members)])
        return True

    def _find_gone(self, node: str, subject: Subject, found: Collection[Entry], gone: _Gone) -> None:
        kind, name = subject
        dead = [entry for entry in found if entry.node == node]
        living = [entry for entry in found if self._nodes.is_alive(entry.node)]
        # For this node, its own memory counts, not Redis: after a failure, its writes take a while.
        living += [Entry(self._nodes.id, field, value) for field, value in self._shared_state.local(subject).items()]
        if kind == CUSTOM_STATE:
            room, user = place_of(name)
            if re.fullmatch(ROOM_NAME, room) and re.fullmatch(USER_NAME, user) and _counted(dead, living):
                gone.custom.append((room, user))
            return
        if re.fullmatch(ROOM_NAME if kind == ROOM else USER_NAME, name) is None:
            return  # an address, or not written by a gateway
        if kind in {ROOM, USER} and is_here(dead) and not is_here(living):
            gone.watched.append(subject)
        if kind == USER and presence_of(living) is None and any(connections_of(entry.value) for entry in dead):
            gone.unseen.append(name)
        if kind == "places":
            elsewhere = {entry.name for entry in living}
            rooms = {entry.name for entry in dead if re.fullmatch(ROOM_NAME, entry.name)} - elsewhere
            gone.rooms.extend((room, name) for room in rooms)

    async def _save(self, names: list[str], silent_seconds: float) -> None:
        if not names:
            return
        last_seen = milliseconds(self._clock) - int(silent_seconds * 1000)
        await self._database.transact(partial(users.record_last_seen_by_name, names=names, until=last_seen))
        self.users_reaped += len(names)


def _counted(dead: Collection[Entry], living: Collection[Entry]) -> bool:
    """Return whether another custom state counts without the dead node."""
    left = newest(states_of(living))
    return newest(states_of([*dead, *living])) != left
