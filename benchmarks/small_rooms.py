"""Measures a delivery in rooms of few members, where few deliveries share the cost of a message."""

import asyncio
from collections.abc import Sequence

from benchmarks.costs import REST_SECONDS, SETTLING_SECONDS, Tally
from benchmarks.dialects import ROOM, Dialect
from benchmarks.rig import Person, cpu_seconds
from benchmarks.talk import Listening, Talk
from benchmarks.visit import Sizes, Visit

MEMBERS = (2, 10)
"""Members of a room, all of which hear it."""

FIGURES = {members: f"µs of CPU a delivery, rooms of {members}" for members in MEMBERS}


def memberships(people: Sequence[Person], count: int) -> dict[str, Sequence[Person]]:
    """Return the members of all rooms, `count` of each size."""
    return {
        _name(members, number): people[number * members : (number + 1) * members]
        for members in MEMBERS
        for number in range(count)
    }


def _name(members: int, number: int) -> str:
    return f"{members}-{number}"


class SmallRoom:
    """A room in which one member talks. It sends a message when all members have received the one before."""

    def __init__(self, dialect: Dialect, members: int, number: int) -> None:
        self.name = _name(members, number)
        self.first = number * members
        self.talk = Talk(members)
        self.listening = [Listening(dialect, self.talk, self.first + each, self.name) for each in range(members)]
        self.talk.on_all_heard = self.listening[0].say

    def begin(self) -> None:
        """Say the first message."""
        self.talk.stopped = False
        self.listening[0].say()

    def is_quiet(self) -> bool:
        """Return whether each member has received each message."""
        return self.talk.heard >= self.talk.said * self.talk.size


class SmallRooms:
    """Deliveries in many rooms at once, of each size."""

    def __init__(self, visit: Visit, sizes: Sizes) -> None:
        self._visit = visit
        self._rooms = {
            members: [SmallRoom(visit.dialect, members, number) for number in range(sizes.small_rooms)]
            for members in MEMBERS
        }

    async def open(self) -> None:
        """Connect."""
        for room in (room for rooms in self._rooms.values() for room in rooms):
            await self._visit.open(room.listening, f"{ROOM}/{room.name}", room.first)
        await asyncio.sleep(SETTLING_SECONDS)
        for room in (room for rooms in self._rooms.values() for room in rooms):
            for client in room.listening:
                client.listen()

    async def turn(self, seconds: float) -> Tally:
        """Measure for so many seconds, and leave the server at rest."""
        return {FIGURES[members]: await self._talk_in(rooms, seconds) for members, rooms in self._rooms.items()}

    async def _talk_in(self, rooms: Sequence[SmallRoom], seconds: float) -> tuple[float, float]:
        """Return the microseconds of CPU with the deliveries."""
        for room in rooms:
            room.begin()
        await asyncio.sleep(seconds / 3)
        heard, cpu = _heard(rooms), cpu_seconds(self._visit.pid)
        await asyncio.sleep(seconds)
        heard, cpu = _heard(rooms) - heard, cpu_seconds(self._visit.pid) - cpu
        for room in rooms:
            room.talk.stopped = True
        async with asyncio.timeout(REST_SECONDS):
            while not all(room.is_quiet() for room in rooms):  # noqa: ASYNC110 - an event for each room costs more
                await asyncio.sleep(0.01)
        if any(room.talk.heard > room.talk.said * room.talk.size for room in rooms):
            raise RuntimeError("more was heard than was said")
        return 1e6 * cpu, heard


def _heard(rooms: Sequence[SmallRoom]) -> int:
    return sum(room.talk.heard for room in rooms)
