"""Users in some rooms behind a bad network, and what happens to them at random."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.rig import Person, Server
from proofs.faults.crowd import PAUSE_SECONDS, Crowd
from proofs.faults.member import Member
from proofs.faults.site import Node
from proofs.rooms.detour import CLEAR, Detour, some_weather
from proofs.rooms.order import Order
from proofs.rooms.wanderer import Visitor, Wanderer
from proofs.view import View

TALKERS = 4
"""How many of the users talk. The others visit."""

LONGEST_DOWN_SECONDS = 2.0


class Gathering(Crowd):
    """Talkers and visitors, each with a way to every node through a detour."""

    def __init__(
        self,
        people: Sequence[Person],
        servers: Sequence[Server],
        detours: Sequence[Detour[Server]],
        rooms: list[str],
        seed: int,
    ) -> None:
        super().__init__(people, servers, rooms, seed)
        self.order = Order()
        self.members = [self._member(number, person, detours, rooms, seed) for number, person in enumerate(people)]

    def _member(
        self, number: int, person: Person, detours: Sequence[Detour[Server]], rooms: list[str], seed: int
    ) -> Member:
        kind = Wanderer if number < TALKERS else Visitor
        ways = [detour.server for detour in detours]
        at = number % len(ways)
        views = {room: View(person.name, room, self.sightings) for room in rooms}
        chance = random.Random(f"{seed}-{number}")
        member = kind(person, [*ways[at:], *ways[:at]], views, self.story, chance, PAUSE_SECONDS)
        member.order = self.order
        return member


class Mischief:
    """Random changes of the weather, cuts and kills, one after another."""

    def __init__(
        self,
        nodes: Sequence[Node],
        detours: Sequence[Detour[Server]],
        others: Sequence[Callable[[], Awaitable[None]]],
        chance: random.Random,
    ) -> None:
        """Take more things to do as `others`, such as the restart of the bus."""
        self._nodes = nodes
        self._detours = detours
        self._others = others
        self._chance = chance
        self.counts: Counter[str] = Counter()

    async def go_on(self, seconds: float) -> None:
        """Do one thing after another for so long, and leave clear weather and running nodes."""
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            await self._one()
            await asyncio.sleep(self._chance.uniform(0.1, 1.5))
        for detour in self._detours:
            detour.weather = CLEAR
        self.counts["cuts"] += sum(detour.cuts for detour in self._detours)

    async def _one(self) -> None:
        choice = self._chance.random()
        if choice < 0.5:
            self._chance.choice(self._detours).weather = some_weather(self._chance)
            self.counts["weathers"] += 1
        elif choice < 0.65:
            self._chance.choice(self._detours).drop()
            self.counts["drops"] += 1
        elif choice < 0.9 or not self._others:
            await self._kill(self._chance.choice(self._nodes))
            self.counts["kills"] += 1
        else:
            await self._chance.choice(self._others)()
            self.counts["restarts of the bus"] += 1

    async def _kill(self, node: Node) -> None:
        await node.kill()
        await asyncio.sleep(self._chance.uniform(0, LONGEST_DOWN_SECONDS))
        await node.start()
