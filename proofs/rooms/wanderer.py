"""Users that come and go: in rooms they talk, or they join, leave and resume at random."""

import asyncio
import time
from collections.abc import Iterable

from benchmarks.rig import Frame, connect
from proofs.faults.member import Connection, Member
from proofs.rooms.order import Operation, Order
from proofs.view import EVENTS, Sightings, View

CHANGES = frozenset({"chat.send", "chat.edit", "chat.delete", "chat.append"})
READS = frozenset({"room.join"})

Key = tuple[object, ...]


class Timed(Connection):
    """A connection that takes the time of each request, and knows which rooms it must not hear any more."""

    def __init__(self, user: str, views: dict[str, View], order: Order, asked: set[Key], sightings: Sightings) -> None:
        super().__init__(views)
        self._user = user
        self._order = order
        self._asked = asked
        self._sightings = sightings
        self._coming: dict[int, dict[str, View]] = {}
        """The rooms of each join or resume without an answer."""
        self._one_at_a_time = asyncio.Lock()
        self.left: set[str] = set()

    def take(self, message: Frame) -> None:
        """Take any message: also the reply of `room.resume`, and no event of a room that was left."""
        if self.is_over:
            return
        rooms = self._coming.pop(message.get("id", 0), None)
        if rooms is not None and message["type"] == "reply" and "rooms" in message["data"]:
            for entry in message["data"]["rooms"]:
                if "error" not in entry:
                    rooms[entry["room"]].joined(entry)
        elif "id" in message or not self._is_to_ignore(message):
            super().take(message)
            if message["type"] == "room.left" and message["data"]["user"] == self._user:
                self.left.add(message["data"]["room"])  # the last event of the room

    def _is_to_ignore(self, event: Frame) -> bool:
        room = event.get("data", {}).get("room")
        if room in self.left and event["type"] in EVENTS | {"chat.appended"}:
            self._sightings.complain("unasked", f"a room that was left sends {event}")
        # The reply begins at the position of the request, so it has what comes in between.
        return room in self.left or any(room in rooms for rooms in self._coming.values())

    async def join(self, view: View) -> Frame:
        """Join a room, or resume it, and return the answer."""
        async with self._one_at_a_time:
            self._coming[self._last_id + 1] = {view.room: view}
            return await super().join(view)

    async def resume(self, views: Iterable[View]) -> Frame | None:
        """Resume rooms with one message, or as many as it takes. Return the first error, if there is one."""
        missing = {view.room: view for view in views}
        async with self._one_at_a_time:
            while missing:
                answer = await self._resume_some(missing)
                if answer["type"] == "error":
                    return answer
                for entry in answer["data"]["rooms"]:
                    if "error" in entry:
                        return dict(entry["error"])
                    del missing[entry["room"]]
        return None

    async def _resume_some(self, views: dict[str, View]) -> Frame:
        self._coming[self._last_id + 1] = dict(views)
        return await self.ask("room.resume", rooms=[{"room": view.room, **view.since} for view in views.values()])

    async def ask(self, type: str, **data: object) -> Frame:
        """Send a message, and record when it began and ended, and what it changed or read."""
        key = (type, data.get("room"), data.get("client_id"), data.get("message_id"), data.get("text"))
        is_repeated = key in self._asked
        self._asked.add(key)
        began = time.monotonic()
        answer = await super().ask(type, **data)
        if answer["type"] == "reply" and (type in CHANGES or type in READS):
            changed = position_of(type, answer["data"])
            is_read = type in READS
            operation = Operation(began, time.monotonic(), changed, is_read, is_repeated and not is_read)
            self._order.note(str(data["room"]), operation)
        return answer


def position_of(type: str, reply: Frame) -> int:
    """Return the change that a request made, or the end of the log as a join shows it."""
    if type in READS:
        return int(reply["offset"])
    return int((reply if type == "chat.append" else reply["message"])["changed"])


class Wanderer(Member):
    """A user that talks in all of its rooms, and comes back in one of the ways that the protocol has."""

    order: Order

    def _connection(self, sightings: Sightings) -> Connection:
        self._asked: set[Key] = getattr(self, "_asked", set())
        return Timed(self.person.name, self.views, self.order, self._asked, sightings)

    async def _come(self, connection: Connection, sightings: Sightings) -> None:
        assert isinstance(connection, Timed)  # noqa: S101 - of this class
        await connect(self._servers[self._number % len(self._servers)], self.person, connection)
        if self._chance.random() < 0.5:
            await self._resume(connection, self._wanted(), sightings)
        else:
            for view in self._wanted():
                await self._join(connection, view, sightings)

    async def _resume(self, connection: Timed, views: list[View], sightings: Sightings) -> None:
        error = await connection.resume(views)
        if error is None:
            return
        if not error["retryable"]:
            sightings.complain("lost", f"{self.person.name} may not resume: {error}")
        raise ConnectionError(error["name"])


class Visitor(Wanderer):
    """A user that says nothing. It joins, leaves, resumes, forgets and hangs up at random."""

    def _wanted(self) -> list[View]:
        return [view for view in self.views.values() if view.room not in self._left]

    def _connection(self, sightings: Sightings) -> Connection:
        self._sightings = sightings
        self._left: set[str] = getattr(self, "_left", set())
        return super()._connection(sightings)

    async def _speak(self, connection: Connection, hushed: asyncio.Event) -> None:
        assert isinstance(connection, Timed)  # noqa: S101 - of this class
        while not connection.lost.is_set():
            try:
                if hushed.is_set():
                    await self._return_to_all(connection)
                    return
                await asyncio.sleep(self._chance.uniform(0, 4 * self._pause))
                await self._act(connection, self.views[self._chance.choice(list(self.views))])
            except ConnectionError:
                connection.hang_up()
                raise

    async def _return_to_all(self, connection: Timed) -> None:
        for room in sorted(self._left):
            await self._return(connection, room)
        self.silent.set()

    async def _act(self, connection: Timed, view: View) -> None:
        chance = self._chance.random()
        if view.room in self._left:
            await self._return(connection, view.room)
        elif chance < 0.3:
            await self._leave(connection, view.room)
        elif chance < 0.5:
            await self._join(connection, view, self._sightings)
        elif chance < 0.7:
            await self._resume(connection, self._wanted(), self._sightings)
        elif chance < 0.8:
            view.forget()
            await self._join(connection, view, self._sightings)
        elif chance < 0.9:
            raise ConnectionError("the user hangs up")

    async def _leave(self, connection: Timed, room: str) -> None:
        self._left.add(room)  # without an answer, it is not known: another join is right in both cases
        answer = await connection.ask("room.leave", room=room)
        if answer["type"] == "error":
            self._left.discard(room)

    async def _return(self, connection: Timed, room: str) -> None:
        connection.left.discard(room)
        self._left.discard(room)
        await self._join(connection, self.views[room], self._sightings)
