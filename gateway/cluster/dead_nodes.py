"""Clearing up after a dead node: its users go offline.

Some at a time, and each is given up only when all has been done for it: should the node that clears up die as well,
another goes on where it stopped.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from gateway.bus.redis_commands import Command, RedisCommands
from gateway.cluster.nodes import Nodes
from gateway.cluster.roster import OnPresenceChange, connections_of, presence_of
from gateway.cluster.shared_state import Entry, SharedState, Subject, entries, hash_key, index_key, subject_of
from gateway.core.clock import Clock, milliseconds
from gateway.core.faults import contained
from gateway.store import users
from gateway.store.engine import Database
from schemas.names import ROOM_NAME, USER_NAME

BATCH = 200


@dataclass
class _Gone:
    """What some subjects come to without the dead node."""

    unseen: list[str] = field(default_factory=list)
    """Users who were connected to it and are connected no more."""
    rooms: list[tuple[str, str]] = field(default_factory=list)
    """Rooms, each with a user who heard it there and hears it no more."""


class DeadNodeReaper:
    """Clears up after dead nodes."""

    def __init__(
        self,
        redis: RedisCommands,
        nodes: Nodes,
        shared_state: SharedState,
        prefix: str,
        database: Database,
        notify: OnPresenceChange,
        clock: Clock,
    ) -> None:
        self._redis = redis
        self._nodes = nodes
        self._shared_state = shared_state
        self._prefix = prefix
        self._database = database
        self._clock = clock
        self._notify = notify
        self.users_reaped = 0
        """How many users were taken offline so."""

    async def reap(self, node: str, silent_seconds: float) -> bool:
        """Take some of a node's users offline; tells whether there may be more.

        Raises `Lost` or `Unavailable`, and the rest is for another time.
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
            with contained("burial"):
                self._find_gone(node, subject, found, gone)
        await self._save(gone.unseen, silent_seconds)
        for room, user in gone.rooms:
            self._notify(room, user, "offline")
        removals: list[Command] = [
            ("HDEL", hash_key(self._prefix, subject), *names)
            for subject, found in about.items()
            if (names := [f"{node} {entry.name}" for entry in found if entry.node == node])
        ]
        await self._redis.execute([*removals, ("SREM", index, *members)])
        return True

    def _find_gone(self, node: str, subject: Subject, found: Collection[Entry], gone: _Gone) -> None:
        kind, name = subject
        if re.fullmatch(USER_NAME, name) is None:
            return  # an address, or nothing of ours
        dead = [entry for entry in found if entry.node == node]
        living = [entry for entry in found if self._nodes.is_alive(entry.node)]
        # Of this node, what it says counts, and not what is written yet: after a failure that takes it a while.
        living += [Entry(self._nodes.id, field, value) for field, value in self._shared_state.local(subject).items()]
        if kind == "user" and presence_of(living) is None and any(connections_of(entry.value) for entry in dead):
            gone.unseen.append(name)
        if kind == "places":
            elsewhere = {entry.name for entry in living}
            rooms = {entry.name for entry in dead if re.fullmatch(ROOM_NAME, entry.name)} - elsewhere
            gone.rooms.extend((room, name) for room in rooms)

    async def _save(self, names: list[str], silent_seconds: float) -> None:
        if not names:
            return
        last_seen = milliseconds(self._clock) - int(silent_seconds * 1000)
        async with self._database.write() as connection:
            await users.record_last_seen_by_name(connection, names, last_seen)
        self.users_reaped += len(names)
