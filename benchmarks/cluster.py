"""Users talk over several nodes while the bus, the store and a node fail: `python -m benchmarks.cluster`.

Each user is in a few of the rooms, on any node, and sends a message now and then. Meanwhile the benchmark kills and
restarts the bus, then the store, then kills a node. The users of that node go on at the others. A client that loses
its connection comes back and resumes. It repeats an unanswered request with the same `client_id`. At the end, each
client must have received each room's log as the store has it: every message, in order, once.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Annotated

import typer
import uvloop
from picows import WSHandshakeError
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from benchmarks.report import conclude, interruptible, table_of_counts
from benchmarks.rig import (
    Asker,
    Frame,
    Lives,
    Person,
    Server,
    connect,
    database_for,
    populate,
    temporary_folder,
    window_of,
)
from gateway.store.engine import Database
from gateway.store.tables import messages, rooms
from tests.support.postgres import Postgres, fresh_database, running_postgres
from tests.support.valkey import Valkey, running_valkey

ROOMS_EACH = 3
RETRY_SECONDS = 0.3
LAST_WORDS_SECONDS = 60
DOWN_SECONDS = 2.0
"""Seconds that the bus and the store are down."""


@dataclass
class Ear:
    """What a user has received of a room."""

    epoch: str | None = None
    position: int = 0
    offsets: list[int] = field(default_factory=list)
    kept: list[int] | None = None
    """Events that arrive during a read of the history; None without one."""
    joined_at: int = 0
    """The offset where the history ends. Later messages arrive as events."""


@dataclass
class Story:
    """What happened to all users."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Seconds from sending to receiving, without what a resume has returned."""
    acknowledged: dict[str, set[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Line(Asker):
    """A connection of a listener."""

    def __init__(self, talker: "Talker") -> None:
        super().__init__()
        self._talker = talker

    def take(self, message: Frame) -> None:
        """Take an event. The reply to a resume comes before the events that follow it."""
        data = message.get("data", {})
        if message["type"] == "chat.message":
            self._talker.hear(data)
        elif message["type"] == "reply" and "rooms" in data:
            for each in data["rooms"]:
                if "error" not in each:
                    self._talker.joined(each)
        elif message["type"] == "resync":
            self._talker.story.counts["resyncs"] += 1
            self.reset()

    def reset(self) -> None:
        """Begin anew, as after a lost connection."""
        if self._transport is not None:
            self._transport.disconnect()


class Talker:
    """A user that comes back after every failure, and keeps talking."""

    def __init__(self, person: Person, names: Sequence[str], nodes: "Nodes", story: Story, pause: float) -> None:
        self.person = person
        self.ears = {name: Ear() for name in names}
        self.story = story
        self._nodes = nodes
        self._pause = pause
        self._chance = random.Random(person.name)  # noqa: S311 - chance, not secrets
        self._numbers = itertools.count(1)
        self._line: Line | None = None
        self._back = asyncio.Event()
        self.stopped = False

    async def stay(self) -> None:
        """Connect, again and again."""
        while not self.stopped:
            line = Line(self)
            try:
                await connect(self._nodes.any(self._chance), self.person, line)
                await self._come_back(line)
            except (OSError, WSHandshakeError, TimeoutError):
                self.story.counts["refused"] += 1
                line.reset()
                await asyncio.sleep(RETRY_SECONDS * self._chance.uniform(0.5, 1.5))
                continue
            self._line = line
            self._back.set()
            await line.lost.wait()
            self._back.clear()
            self.story.counts["lost connections"] += not self.stopped

    async def _come_back(self, line: Line) -> None:
        """Resume all rooms, with as few messages as possible."""
        asked = list(self.ears)
        for ear in self.ears.values():
            ear.kept = None
        while asked:
            answer = await line.ask("room.resume", rooms=[self._request(name) for name in asked])
            found = [{"error": answer}] if answer["type"] == "error" else answer["data"]["rooms"]
            refused = [each["error"] for each in found if "error" in each]
            if not all(error["retryable"] for error in refused):
                raise RuntimeError(f"not let in: {refused}")
            if refused:
                await asyncio.sleep(RETRY_SECONDS)
            asked = list(set(asked) - {each["room"] for each in found if "error" not in each})
        for name, ear in self.ears.items():
            if ear.kept is not None:
                await self._read_history(line, name, ear)

    def _request(self, name: str) -> Frame:
        ear = self.ears[name]
        return {"room": name} | ({"since": {"epoch": ear.epoch, "offset": ear.position}} if ear.epoch else {})

    async def _read_history(self, line: Line, name: str, ear: Ear) -> None:
        """Read the history that was too long for a resume."""
        more = True
        while more:
            answer = await line.ask("chat.history", room=name, after=ear.position, limit=100)
            if answer["type"] == "error":
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for message in answer["data"]["messages"]:
                if message["offset"] <= ear.joined_at:
                    self._add(name, ear, message["offset"])
            more = ear.position < ear.joined_at
        kept, ear.kept = ear.kept or [], None
        for offset in kept:
            if offset > ear.position:
                self._add(name, ear, offset)

    def joined(self, reply: Frame) -> None:
        """Take the part of one room's log in the reply to a resume."""
        name, ear = reply["room"], self.ears[reply["room"]]
        ear.joined_at = reply["offset"]
        if ear.epoch is None:
            ear.epoch = reply["epoch"]
            ear.kept = [] if reply["offset"] else None  # read from the beginning
        elif reply["recovered"]:
            self.story.counts["resumed"] += 1
            for event in reply["events"]:
                self._add(name, ear, event["data"]["offset"])
        else:
            self.story.counts["read as history"] += 1
            ear.kept = []

    def hear(self, message: Frame) -> None:
        """Take an event."""
        ear = self.ears[message["room"]]
        if ear.kept is not None:
            ear.kept.append(message["offset"])
            return
        self.story.seconds.append(time.time() - float(message["text"].partition(" ")[0]))
        self._add(message["room"], ear, message["offset"])

    def _add(self, name: str, ear: Ear, offset: int) -> None:
        self.story.counts["heard"] += 1
        if offset <= ear.position:
            self.story.counts["doubled or out of order"] += 1
        elif offset > ear.position + 1:
            self.story.counts["holes"] += 1
        else:
            ear.offsets.append(offset)
            ear.position = offset
            return
        self.story.wrong.append(f"{self.person.name} heard {offset} of {name} after {ear.position}")
        ear.position = max(offset, ear.position)

    async def talk(self, until: float) -> None:
        """Send a message now and then."""
        await asyncio.sleep(self._chance.uniform(0, self._pause))
        while time.monotonic() < until:
            await self._say(self._chance.choice(list(self.ears)), f"{self.person.name}-{next(self._numbers)}")
            await asyncio.sleep(self._chance.expovariate(1 / self._pause))

    async def _say(self, name: str, client_id: str) -> None:
        text = f"{time.time()} {client_id}"
        while True:
            await self._back.wait()
            assert self._line is not None  # noqa: S101 - `_back` is set
            try:
                answer = await self._line.ask("chat.send", room=name, text=text, client_id=client_id)
            except ConnectionError:
                self.story.counts["asked again"] += 1
                await asyncio.sleep(0)
                continue
            except TimeoutError:
                self.story.counts["never answered"] += 1
                self._line.reset()
                continue
            if answer["type"] == "reply":
                self.story.counts["acknowledged"] += 1
                self.story.acknowledged[name].add(answer["data"]["message"]["offset"])
                return
            self.story.counts["answered: try again"] += 1
            if not answer["retryable"]:
                raise RuntimeError(f"refused: {answer}")
            await asyncio.sleep(RETRY_SECONDS)

    async def leave(self) -> None:
        """Close the connection for good."""
        self.stopped = True
        if self._line is not None:
            await self._line.close()


class Nodes:
    """The gateways, and which of them are alive."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self.alive = set(range(len(servers)))

    def any(self, chance: random.Random) -> Server:
        """Return a live one."""
        return self.servers[chance.choice(sorted(self.alive))]


@dataclass
class Run:
    """A cluster, its users, and what happens to them."""

    seconds: float
    valkey: Valkey
    postgres: Postgres
    nodes: Nodes
    lives: Sequence[Lives]
    talkers: Sequence[Talker]
    story: Story
    report: Callable[[str], None]

    async def run(self) -> None:
        """Let users talk while parts fail, then let each receive the rest."""
        for lives in self.lives:
            await lives.start()
        for server, lives in zip(self.nodes.servers, self.lives, strict=True):
            await server.answers(lives.goes_on)
        staying = [asyncio.create_task(talker.stay()) for talker in self.talkers]
        until = time.monotonic() + self.seconds
        talking = [asyncio.create_task(talker.talk(until)) for talker in self.talkers]
        await self._fail()
        async with asyncio.timeout(self.seconds + LAST_WORDS_SECONDS):
            await asyncio.gather(*talking)
        await self._all_have_heard()
        await asyncio.gather(*(talker.leave() for talker in self.talkers))
        for task in staying:
            task.cancel()
        for number in sorted(self.nodes.alive):
            await self.lives[number].kill()

    async def _fail(self) -> None:
        steps: Sequence[Callable[[], Awaitable[None]]] = (self._bus, self._store, self._node)
        for step in steps:
            await asyncio.sleep(self.seconds / (len(steps) + 1))
            await step()

    async def _bus(self) -> None:
        self.report("the bus is killed")
        self.valkey.stop()
        await asyncio.sleep(DOWN_SECONDS)
        self.valkey.start()
        self.report("the bus is back, and knows nothing")

    async def _store(self) -> None:
        self.report("the store is killed")
        self.postgres.stop()
        await asyncio.sleep(DOWN_SECONDS)
        await asyncio.to_thread(self.postgres.start)
        self.report("the store is back")

    async def _node(self) -> None:
        number = max(self.nodes.alive)
        self.nodes.alive.discard(number)
        await self.lives[number].kill()
        self.report(f"node {number} is killed, and stays away")

    async def _all_have_heard(self) -> None:
        top = {name: max(offsets, default=0) for name, offsets in self.story.acknowledged.items()}
        until = time.monotonic() + LAST_WORDS_SECONDS
        while waiting := [
            f"{talker.person.name} has heard {name} up to {ear.position} of {top[name]}"
            for talker in self.talkers
            for name, ear in talker.ears.items()
            if ear.position < top[name]
        ]:
            if time.monotonic() > until:
                self.story.counts["not heard"] = len(waiting)
                self.story.wrong += waiting
                return
            await asyncio.sleep(0.1)


async def compare(database: Database, talkers: Sequence[Talker], story: Story) -> None:
    """Compare the messages that each user has received with the store."""
    query = select(rooms.c.name, messages.c.offset).where(rooms.c.id == messages.c.room_id)
    stored: dict[str, list[int]] = {name: [] for name in story.acknowledged}
    query = query.order_by(rooms.c.name, messages.c.offset)
    for row in await database.query(lambda connection: connection.execute(query).all()):
        stored[row.name].append(row.offset)
    for name, offsets in stored.items():
        story.counts["stored"] += len(offsets)
        story.counts["lost"] += len(story.acknowledged[name] - set(offsets))
        if offsets != list(range(1, len(offsets) + 1)):
            story.wrong.append(f"{name}: the log has holes")
    for talker in talkers:
        for name, ear in talker.ears.items():
            if ear.offsets != stored[name]:
                story.counts["views that differ"] += 1
                story.wrong.append(f"{talker.person.name} has heard another log of {name} than there is")


def table_of(story: Story, seconds: float) -> Table:
    """Build the table of the counts."""
    lines = (
        ("sends acknowledged", "acknowledged"),
        ("of these, answered 50300 before", "answered: try again"),
        ("of these, asked again on another connection", "asked again"),
        ("never answered in 20 s", "never answered"),
        ("messages in the store", "stored"),
        ("messages heard", "heard"),
        ("connections lost", "lost connections"),
        ("connections refused", "refused"),
        ("rooms resumed", "resumed"),
        ("rooms read as history, for there was too much", "read as history"),
        ("resyncs", "resyncs"),
        ("lost: acknowledged, and not in the store", "lost"),
        ("heard twice, or out of order", "doubled or out of order"),
        ("holes in what was heard", "holes"),
        ("never heard", "not heard"),
        ("views that are not the log", "views that differ"),
    )
    counts = [(line, story.counts[name]) for line, name in lines]
    table = table_of_counts("A conversation while things fail", [*counts, ("otherwise wrong", len(story.wrong))])
    times = sorted(story.seconds)
    for percentile in (50, 99, 100):
        at = times[min(len(times) * percentile // 100, len(times) - 1)] if times else 0
        table.add_row(f"from sending to hearing, p{percentile}" if percentile < 100 else "the longest", f"{at:.3f} s")
    table.add_row("seconds", f"{seconds:.0f}")
    return table


async def cluster(
    *,
    clients: int,
    nodes: int,
    room_count: int,
    seconds: float,
    pause: float,
    windows: Sequence[int],
    report: Callable[[str], None],
) -> Story:
    """Run the benchmark on its own bus and store. The nodes take the windows in turn."""
    names = [f"room-{number}" for number in range(room_count)]
    story = Story(acknowledged={name: set() for name in names})
    people = [Person(f"talker-{number}") for number in range(clients)]
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        postgres = stack.enter_context(running_postgres(sync=True))
        url = stack.enter_context(fresh_database(postgres.url("postgres")))
        valkey = stack.enter_context(running_valkey())
        database = database_for(url)
        stack.push_async_callback(database.close)
        each = itertools.cycle(windows or (None,))
        servers = [Server(folder, url, GATEWAY_BUS_URL=valkey.url, **window_of(next(each))) for _ in range(nodes)]
        where = Nodes(servers)
        places = {
            person.name: [names[(number + step) % room_count] for step in range(min(ROOMS_EACH, room_count))]
            for number, person in enumerate(people)
        }
        talkers = [Talker(person, places[person.name], where, story, pause) for person in people]
        members = {name: [person for person in people if name in places[person.name]] for name in names}
        await populate(database, people, members)
        lives = [await stack.enter_async_context(Lives(server)) for server in servers]
        await Run(seconds, valkey, postgres, where, lives, talkers, story, report).run()
        await compare(database, talkers, story)
    return story


def main(
    clients: Annotated[int, typer.Option(min=1, max=1000, help="How many people talk.")] = 200,
    nodes: Annotated[int, typer.Option(min=2, max=10, help="Over how many nodes; one of them is killed.")] = 3,
    rooms: Annotated[int, typer.Option(min=1, max=1000, help="In how many rooms.")] = 20,
    seconds: Annotated[float, typer.Option(min=4, max=600, help="For how long.")] = 30,
    pause: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between two messages of a person.")] = 1,
    window: Annotated[
        list[int] | None, typer.Option(help="Changes of a room that a node remembers; repeat it for the next node.")
    ] = None,
) -> None:
    """Let users talk over several nodes while parts fail; exit with 1 unless each has received every message once."""
    console = Console(highlight=False)
    began = time.monotonic()
    with interruptible():
        story = uvloop.run(
            cluster(
                clients=clients,
                nodes=nodes,
                room_count=rooms,
                seconds=seconds,
                pause=pause,
                windows=window or (),
                report=console.print,
            )
        )
    console.print(table_of(story, time.monotonic() - began))
    failed = any(story.counts[name] for name in ("lost", "not heard", "views that differ"))
    conclude(console, story.wrong, failed=failed)


if __name__ == "__main__":
    typer.run(main)
