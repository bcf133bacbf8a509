"""Some users in some rooms on all nodes, and the comparison of what they did and saw with what the gateway has."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from benchmarks.rig import Person, Server, connect
from benchmarks.story import Said, Story, compare, read_log, reply_to
from proofs.faults.member import Connection, Member
from proofs.view import Seen, Sightings, View

LAST_WORDS_SECONDS = 60.0
HEARD_SECONDS = 30.0
"""How long the newest changes may take to all clients: a node looks for what the bus lost every ten seconds."""

PAUSE_SECONDS = 0.2
"""The mean time before each request of a user, of which two are on the way."""


class Crowd:
    """Users that talk and listen while the context lasts."""

    def __init__(self, people: Sequence[Person], servers: Sequence[Server], rooms: Sequence[str], seed: int) -> None:
        chance = random.Random(seed)
        self.story = Story.of(rooms)
        self.sightings = Sightings()
        self._servers = servers
        self._people = people
        self._hushed, self._over = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.members = [
            Member(
                person,
                [*servers[number % len(servers) :], *servers[: number % len(servers)]],
                {room: View(person.name, room, self.sightings) for room in rooms},
                self.story,
                random.Random(chance.random()),
                PAUSE_SECONDS,
            )
            for number, person in enumerate(people)
        ]

    @property
    def acknowledged(self) -> int:
        """Return how many requests the gateway has acknowledged."""
        return sum(self.story.counts[kind] for kind in ("chat.send", "chat.edit", "chat.append", "chat.delete"))

    async def __aenter__(self) -> Self:
        for member in self.members:
            hushed = self._hushed
            self._tasks.append(asyncio.create_task(member.stay(self.sightings, hushed, self._over)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def finish(self) -> None:
        """Let all requests be answered and all changes be heard, and compare everything."""
        self._hushed.set()
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await asyncio.gather(*(member.silent.wait() for member in self.members))
        except TimeoutError:
            left = sum(len(member.unanswered) for member in self.members)
            self.story.wrong.append(f"{left} requests were never answered")
        for task in self._tasks:
            if task.done() and task.exception() is not None:
                raise RuntimeError("a client has failed") from task.exception()
        for server in self._servers:
            await self._compare(server)

    async def _compare(self, server: Server) -> None:
        """Compare with the logs as one node has them."""
        reader = Connection({})
        try:
            await connect(server, self._people[0], reader)
            for room in self.story.logs:
                found = await read_log(reader, room)
                top = max((said.changed for said in found.values()), default=0)
                await self._all_heard(reader, room, top)
                self._compare_room(room, found, top, counted=server is self._servers[0])
        finally:
            reader.hang_up()

    async def _all_heard(self, reader: Connection, room: str, top: int) -> None:
        """Wait until the node and all clients know all changes. The node may have just stored one for another node."""
        until = asyncio.get_running_loop().time() + HEARD_SECONDS
        while asyncio.get_running_loop().time() < until:
            known = (await reply_to(reader, "room.join", room=room, limit=0))["offset"]
            if known == top and all(member.views[room].position == top for member in self.members):
                return
            await asyncio.sleep(0.05)
        if known != top:
            self.sightings.complain("behind", f"a node says that {room} ends at {known}, and it ends at {top}")

    def _compare_room(self, room: str, found: dict[int, Said], top: int, *, counted: bool) -> None:
        # Only the sender sees a message's `client_id`, so the database is compared for that.
        expected = {offset: replace(said, client_id=None) for offset, said in self.story.logs[room].items()}
        compare(self.story, room, expected, found)
        if counted:
            self.story.count_offsets(room, top)
        log = {
            offset: Seen(offset, said.changed, said.sender, said.text, said.deleted) for offset, said in found.items()
        }
        for member in self.members:
            member.views[room].compare(log, top)
