"""Events about users that come and go, and about rooms that are occupied and vacated.

The store remembers what each hook has been told. A change that it has been told already is no event, so a hook gets
each `user.connected` and its `user.offline` by turns, whichever nodes report them. A crash may lose a report. So from
time to time, and soon after a start, what hooks have been told is compared with what is so.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Self

import orjson
from sqlalchemy import Connection

from gateway.cluster.roster import Roster
from gateway.core.batches import batches
from gateway.core.clock import Clock, milliseconds
from gateway.core.periodic import Periodic
from gateway.routes.model import Hook
from gateway.store import outgoing_events, webhooks
from gateway.store.engine import Database
from gateway.store.outgoing_events import NewEvent
from gateway.upstream.client import new_message_id
from gateway.webhooks.writer import EventWriter
from handlers.errors import Unavailable

FIRST_CHECK_SECONDS = 25
"""How long after a start to compare. Until then, clients of the time before the start have come back or are gone."""

CHECK_SECONDS = 300
"""How often to compare after that."""

AGAIN_SECONDS = 1.0
"""How long to wait if the store does not answer."""

MAX_WAITING = 10_000
"""Changes that wait for the store. Beyond it the oldest are dropped, and the next comparison finds them."""

BATCH = 500

Kind = Literal["user", "room"]


class Coming(NamedTuple):
    """A user or a room that is present from now on, or no longer."""

    kind: Kind
    name: str
    is_present: bool

    @property
    def type(self) -> str:
        """Return the type of its event."""
        if self.kind == "user":
            return "user.connected" if self.is_present else "user.offline"
        return "room.occupied" if self.is_present else "room.vacated"


@dataclass(frozen=True, slots=True)
class _Wants:
    """A hook that wants events of a kind. It gets both of a pair or one, but the store remembers both."""

    hook: Hook
    kind: Kind

    def takes(self, coming: Coming) -> bool:
        """Return whether a change is about what this hook is told."""
        return coming.kind == self.kind and (coming.kind == "user" or self.hook.rooms.matches(coming.name))


class Comings:
    """Stores the events about users and rooms."""

    def __init__(
        self, database: Database, roster: Roster, writer: EventWriter, clock: Clock, is_sender: Callable[[str], bool]
    ) -> None:
        """`is_sender` returns whether this node sends the events of a hook. That node compares what is gone."""
        self._database = database
        self._roster = roster
        self._writer = writer
        self._clock = clock
        self._is_sender = is_sender
        self._wants: tuple[_Wants, ...] = ()
        self._waiting: deque[Coming] = deque(maxlen=MAX_WAITING)
        self._writes = Periodic("comings", self._pause, self._store_all)
        self._check_in: float | None = FIRST_CHECK_SECONDS
        self._checks = Periodic("comings", self._next_check, self.check)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Store changes while the context lasts."""
        async with self._checks, self._writes:
            yield self

    def use(self, hooks: Iterable[Hook]) -> None:
        """Store events for these hooks from now on. A new hook is told of all that is present."""
        before = self._wants
        self._wants = tuple(
            _Wants(hook, kind)
            # In a fixed order, so that two nodes never wait for each other.
            for hook in sorted(hooks, key=lambda hook: hook.name)
            for kind in _kinds()
            if any(_is_of(kind, each) for each in hook.types)
        )
        kinds = {wants.kind for wants in self._wants}
        self._roster.watch(self, users="user" in kinds, rooms="room" in kinds)
        if {(each.hook.name, each.kind) for each in self._wants} - {(each.hook.name, each.kind) for each in before}:
            self._tell_all()

    def user_changed(self, user: str, *, connected: bool) -> None:
        """Store that a user is present, or no longer."""
        self._add(Coming("user", user, connected))

    def room_changed(self, room: str, *, occupied: bool) -> None:
        """Store that a room is heard, or no longer."""
        self._add(Coming("room", room, occupied))

    async def check(self) -> None:
        """Compare what hooks have been told with what is so, and store what is missing. Raise `Unavailable`."""
        self._tell_all()
        for wants in self._wants:
            if self._is_sender(wants.hook.name):
                await self._find_gone(wants)

    def _tell_all(self) -> None:
        """Store all that is present on this node. What a hook has been told already comes to nothing."""
        users, rooms = self._roster.present_here()
        kinds = {wants.kind for wants in self._wants}
        for name in users if "user" in kinds else ():
            self.user_changed(name, connected=True)
        for name in rooms if "room" in kinds else ():
            self.room_changed(name, occupied=True)

    async def _find_gone(self, wants: _Wants) -> None:
        after = ""
        while True:
            read = partial(webhooks.told, name=wants.hook.name, kind=wants.kind, after=after, limit=BATCH)
            told = await self._database.query(read)
            if not told:
                return
            users, rooms = (told, []) if wants.kind == "user" else ([], told)
            present = await self._roster.present_anywhere(users, rooms)
            if present is None:
                return  # until Redis is back
            for name in set(told) - present[0] - present[1]:
                self._add(Coming(wants.kind, name, is_present=False))
            after = told[-1]

    def _add(self, coming: Coming) -> None:
        if any(wants.takes(coming) for wants in self._wants):
            self._waiting.append(coming)
            self._writes.wake()

    def _pause(self) -> float | None:
        return AGAIN_SECONDS if self._waiting else None

    def _next_check(self) -> float:
        seconds, self._check_in = self._check_in or CHECK_SECONDS, None
        return seconds

    async def _store_all(self) -> None:
        """Store the changes that wait, or keep them for the next turn if the store does not answer."""
        waiting, self._waiting = list(self._waiting), deque(maxlen=MAX_WAITING)
        stored = 0
        for batch in batches(waiting, BATCH):
            try:
                await self._database.transact(partial(self._store, batch))
            except Unavailable:
                self._waiting.extendleft(reversed(waiting[stored:]))
                raise
            stored += len(batch)
            self._writer.committed()

    def _store(self, batch: list[Coming], connection: Connection) -> None:
        """Store the events about some changes."""
        for wants in self._wants:
            for event in self._news(wants, batch, connection):
                outgoing_events.add_one(connection, event)

    def _news(self, wants: _Wants, batch: list[Coming], connection: Connection) -> Iterable[NewEvent]:
        """Return the events that are news for a hook, and remember what it is told."""
        some = [coming for coming in batch if wants.takes(coming)]
        if not some:
            return
        webhooks.add(connection, [wants.hook.name])  # a new hook may not be stored yet
        webhooks.lock(connection, wants.hook.name)
        names = list(dict.fromkeys(coming.name for coming in some))
        before = webhooks.know(connection, wants.hook.name, wants.kind, names)
        known = set(before)
        for coming in some:
            if coming.is_present == (coming.name in known):
                continue
            event = self._event(wants.hook, coming)
            if coming.type in wants.hook.types and not self._writer.admits(event.webhook):
                continue  # the next comparison tries again
            (known.add if coming.is_present else known.discard)(coming.name)
            if coming.type in wants.hook.types:
                yield event
        webhooks.tell(connection, wants.hook.name, wants.kind, known - before, before - known)

    def _event(self, hook: Hook, coming: Coming) -> NewEvent:
        data = orjson.dumps({coming.kind: coming.name}).decode()
        stream, now = f"{coming.kind}:{coming.name}", milliseconds(self._clock)
        return NewEvent(hook.name, stream, new_message_id(), coming.type, data, now)


def _kinds() -> tuple[Kind, ...]:
    return "user", "room"


def _is_of(kind: Kind, type: str) -> bool:
    return type.startswith(f"{kind}.")
