"""Kills the gateway at random moments under load, and counts what is left: `python -m benchmarks.crash`.

Users send, edit and delete messages and let them grow, each in every room and with a few requests on their way. SIGKILL
ends each life of the gateway, sometimes before it listens. In the next life, each user comes back and repeats its
unanswered requests, a send with the same `client_id`, and of a message that grows the pieces it lacks. At the end,
every request has an answer. The benchmark then reads the logs through the protocol and from the database. It checks
that every acknowledged change is there. Exactly one change must have taken each offset from 1 to the top. No
`client_id` may be stored twice.

A killed process loses what it had not yet passed to the system. A power cut also loses what the system had not yet
written to the disk; a test of that needs another machine.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
    StoreKind,
    connect,
    database_for,
    populate,
    store_url,
    temporary_folder,
    window_of,
)
from gateway.store.engine import Database
from gateway.store.tables import messages, rooms, users

ON_THE_WAY = 4
"""The most unanswered requests of a user."""

STARTING = 0.1
"""The share of lives that end while the gateway starts."""

START_SECONDS = 0.3
MEAN_LIFE_SECONDS = 0.6
LONGEST_LIFE_SECONDS = 3.0
LAST_WORDS_SECONDS = 60
PAGE = 100


@dataclass
class Wish:
    """A request of a user: a message, an edit or a deletion."""

    kind: str
    room: str
    text: str | None = None
    client_id: str | None = None
    message_id: str | None = None

    @property
    def offset(self) -> int:
        """Return the offset of the message that it is about."""
        return int(str(self.message_id).rpartition(".")[2])

    def data(self) -> Frame:
        """Return it as the data of a message."""
        return {name: value for name, value in vars(self).items() if name != "kind" and value is not None}


@dataclass
class Growth(Wish):
    """Several requests of a user: pieces for the end of one message, where its text is `text` before them."""

    pieces: Sequence[str] = ()
    acknowledged: int = 0
    """How many of the pieces are known to be stored."""
    changes: set[int] = field(default_factory=set)
    """The offsets that they have taken."""

    def text_after(self, count: int) -> str:
        """Return the text after so many pieces."""
        return (self.text or "") + "".join(self.pieces[:count])


@dataclass(frozen=True)
class Said:
    """A message in the form that a room's log should have."""

    sender: str
    client_id: str | None
    text: str | None
    changed: int
    deleted: bool = False


Logs = dict[str, dict[int, Said]]
"""The messages of each room, by offset."""


@dataclass
class Story:
    """All acknowledged changes, and the faults seen on the way."""

    logs: Logs
    taken: dict[str, Counter[int]]
    """The offsets that acknowledged changes have taken, by room."""
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unsure: Counter[str] = field(default_factory=Counter)
    """How many offsets pieces without an answer may have taken, by room: those of all but the last are unknown."""

    def note(self, who: str, wish: Wish, message: Frame) -> None:
        """Record that a request was acknowledged, with this message as its outcome."""
        self.counts[wish.kind] += 1
        log, offset, changed = self.logs[wish.room], message["offset"], message["changed"]
        self.taken[wish.room][changed] += 1
        if wish.kind == "chat.send":
            log[offset] = Said(who, wish.client_id, wish.text, changed)
        else:
            log[offset] = replace(log[offset], text=wish.text, changed=changed, deleted=wish.kind == "chat.delete")
        if (message["sender"], message.get("text")) != (who, wish.text):
            self.wrong.append(f"{who}'s {wish} was answered with {message}")

    def note_pieces(self, wish: Growth, count: int, changes: set[int]) -> None:
        """Record that so many pieces are known to be stored, with changes that have these offsets."""
        self.counts[wish.kind] += count - wish.acknowledged
        self.taken[wish.room].update(changes - wish.changes)
        wish.changes |= changes
        wish.acknowledged = count
        log = self.logs[wish.room]
        log[wish.offset] = replace(log[wish.offset], text=wish.text_after(count), changed=max(wish.changes))

    def count_offsets(self, room: str, top: int) -> None:
        """Count the offsets of a log that no change, or more than one, has taken."""
        taken = self.taken[room]
        holes = sum(1 for offset in range(1, top + 1) if offset not in taken)
        self.counts["holes"] += max(0, holes - self.unsure[room])
        self.counts["doubles"] += sum(times - 1 for times in taken.values())
        if max(taken, default=0) != top:
            self.wrong.append(f"{room}: the log ends at {top}, and the last change took {max(taken, default=0)}")


class Talker:
    """A user that keeps talking, over all lives of the gateway."""

    def __init__(self, person: Person, names: Sequence[str], story: Story, chance: random.Random) -> None:
        self.person = person
        self.unanswered: list[Wish] = []
        self._names = names
        self._story = story
        self._chance = chance
        self._numbers = itertools.count(1)
        self._settled: list[tuple[str, str]] = []  # room and id of messages without a request on its way

    async def live(self, server: Server, stop: asyncio.Event) -> None:
        """Repeat the unanswered requests, then talk until `stop` is set or the connection is lost."""
        try:
            asker = await connect(server, self.person)
            await asker.ask("room.join", room=self._chance.choice(self._names))
        except (OSError, WSHandshakeError):
            return
        unanswered, self.unanswered = self.unanswered, []
        await _all([self._repeat(asker, wish) for wish in unanswered])
        await _all([self._talk(asker, stop) for _ in range(ON_THE_WAY)])
        await asker.close()

    async def _repeat(self, asker: Asker, wish: Wish) -> None:
        self._story.counts["resent"] += 1
        if isinstance(wish, Growth):
            self._note_grown(wish, await self._stored(asker, wish))
            await self._grow(asker, wish)
        elif wish.kind == "chat.edit" and (message := await self._stored(asker, wish)).get("text") == wish.text:
            self._fulfilled(wish, message)  # a second edit would take another offset
        else:
            await self._ask(asker, wish)

    async def _stored(self, asker: Asker, wish: Wish) -> Frame:
        """Return the message that a request is about, as it is now."""
        answer = await self._answer(asker, wish, "chat.history", room=wish.room, after=wish.offset - 1, limit=1)
        found: Frame = answer["data"]["messages"][0]
        return found

    def _note_grown(self, wish: Growth, message: Frame) -> None:
        """Record the pieces that were stored without an answer."""
        text = message.get("text")
        stored = next((count for count in range(len(wish.pieces) + 1) if text == wish.text_after(count)), None)
        if stored is None or stored < wish.acknowledged:
            self._story.counts["lost"] += 1
            self._story.wrong.append(f"{wish} had {wish.acknowledged} pieces acknowledged, found is {message}")
        elif stored > wish.acknowledged:
            self._story.unsure[wish.room] += stored - wish.acknowledged - 1
            self._story.note_pieces(wish, stored, {message["changed"]})

    async def _grow(self, asker: Asker, wish: Growth) -> None:
        """Send the pieces that are missing, all at once."""
        left = range(wish.acknowledged, len(wish.pieces))
        answers = await asyncio.gather(*(self._add(asker, wish, number) for number in left), return_exceptions=True)
        for number, answer in zip(left, answers, strict=True):
            if isinstance(answer, BaseException):
                self.unanswered.append(wish)
                raise answer
            if answer["type"] == "error":
                self._story.wrong.append(f"{self.person.name}'s {wish} was refused: {answer}")
                return
            self._story.note_pieces(wish, number + 1, {answer["data"]["changed"]})
        self._settled.append((wish.room, str(wish.message_id)))

    async def _add(self, asker: Asker, wish: Growth, number: int) -> Frame:
        at, place = len(wish.text_after(number)), {"room": wish.room, "message_id": wish.message_id}
        return await asker.ask("chat.append", **place, text=wish.pieces[number], at=at)

    async def _talk(self, asker: Asker, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wish = self._next()
            await (self._grow(asker, wish) if isinstance(wish, Growth) else self._ask(asker, wish))

    def _next(self) -> Wish:
        number = next(self._numbers)
        text = f"{self.person.name} says {number}"
        if self._settled and self._chance.random() < 0.3:
            room, message_id = self._settled.pop(self._chance.randrange(len(self._settled)))
            choice = self._chance.random()
            if choice < 0.4:
                growth = Growth(
                    "chat.append", room, message_id=message_id, pieces=[f" {text} {each}" for each in "abc"]
                )
                growth.text = self._story.logs[room][growth.offset].text
                return growth
            if choice < 0.8:
                return Wish("chat.edit", room, text, message_id=message_id)
            return Wish("chat.delete", room, message_id=message_id)
        return Wish("chat.send", self._chance.choice(self._names), text, client_id=f"c{number}")

    async def _ask(self, asker: Asker, wish: Wish) -> None:
        answer = await self._answer(asker, wish, wish.kind, **wish.data())
        if answer["type"] == "error":
            self._story.wrong.append(f"{self.person.name}'s {wish} was refused: {answer}")
            return
        self._story.counts["duplicates"] += bool(answer["data"].get("duplicate"))
        self._fulfilled(wish, answer["data"]["message"])

    async def _answer(self, asker: Asker, wish: Wish, type: str, **data: object) -> Frame:
        """Ask, and remember the request if no answer comes."""
        try:
            return await asker.ask(type, **data)
        except ConnectionError:
            self.unanswered.append(wish)
            raise

    def _fulfilled(self, wish: Wish, message: Frame) -> None:
        self._story.note(self.person.name, wish, message)
        if wish.kind != "chat.delete":
            self._settled.append((wish.room, message["id"]))


async def _all(work: Sequence[object]) -> None:
    """Run coroutines side by side, each to its end; a lost connection ends one too."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):  # type: ignore[call-overload]
        if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionError):
            raise outcome


@dataclass
class Run:
    """A gateway, its users, and the number of kills."""

    kills: int
    seconds: float
    server: Server
    talkers: Sequence[Talker]
    story: Story
    chance: random.Random

    async def run(self, report: Callable[[str], None]) -> None:
        """Kill the gateway until the count or the time is reached, then let all users finish."""
        until = time.monotonic() + self.seconds
        async with Lives(self.server) as lives:
            while self.story.counts["kills"] < self.kills and time.monotonic() < until:
                await self._life(lives)
                self.story.counts["kills"] += 1
                if self.story.counts["kills"] % 20 == 0:
                    report(f"{self.story.counts['kills']} kills, {self.story.counts['chat.send']} sends acknowledged")
            await lives.start()
            await self.server.answers(lives.goes_on)
            await self._last_words()
            await self._compare()
            await lives.kill()

    async def _life(self, lives: Lives) -> None:
        await lives.start()
        if self.chance.random() < STARTING:
            await asyncio.sleep(self.chance.uniform(0, START_SECONDS))
            await lives.kill()
            return
        await self.server.answers(lives.goes_on)
        never = asyncio.Event()
        talking = [asyncio.create_task(talker.live(self.server, never)) for talker in self.talkers]
        await asyncio.sleep(min(self.chance.expovariate(1 / MEAN_LIFE_SECONDS), LONGEST_LIFE_SECONDS))
        await lives.kill()
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await asyncio.gather(*talking)

    async def _last_words(self) -> None:
        stop = asyncio.Event()
        stop.set()
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await asyncio.gather(*(talker.live(self.server, stop) for talker in self.talkers))
        left = sum(len(talker.unanswered) for talker in self.talkers)
        if left:
            self.story.wrong.append(f"{left} wishes were never answered")

    async def _compare(self) -> None:
        reader = await connect(self.server, self.talkers[0].person)
        for room, log in self.story.logs.items():
            joined = (await reader.ask("room.join", room=room))["data"]
            told = await read_log(reader, room)
            # Only the sender sees a message's `client_id`, so the database is compared for that.
            compare(self.story, room, {offset: replace(said, client_id=None) for offset, said in log.items()}, told)
            self.story.count_offsets(room, joined["offset"])
        await reader.close()


def compare(story: Story, room: str, expected: dict[int, Said], found: dict[int, Said]) -> None:
    """Count messages that are missing, that differ from what was acknowledged, and that no user was told of."""
    for offset, said in expected.items():
        if found.get(offset) != said:
            story.counts["lost"] += 1
            story.wrong.append(f"{room} {offset}: acknowledged was {said}, found is {found.get(offset)}")
    story.counts["unasked"] += len(found.keys() - expected.keys())


async def read_log(reader: Asker, room: str) -> dict[int, Said]:
    """Read a whole log through the protocol."""
    found: dict[int, Said] = {}
    more = True
    while more:
        data = {"room": room, "after": max(found, default=0), "limit": PAGE}
        page = (await reader.ask("chat.history", **data))["data"]
        more = page["has_more"]
        for each in page["messages"]:
            deleted = each.get("deleted", False)
            found[each["offset"]] = Said(each["sender"], None, each.get("text"), each["changed"], deleted)
    return found


async def compare_database(database: Database, story: Story) -> None:
    """Compare the tables with the acknowledged changes."""
    query = select(messages, rooms.c.name.label("room"), users.c.name.label("sender")).where(
        rooms.c.id == messages.c.room_id, users.c.id == messages.c.sender_id
    )
    found: Logs = {room: {} for room in story.logs}
    ids: Counter[tuple[str, str, str]] = Counter()
    positions = select(rooms.c.name, rooms.c.offset)
    rows, ends = await database.query(lambda at: (at.execute(query).all(), at.execute(positions).all()))
    for row in rows:
        ids[row.room, row.sender, row.client_id] += 1
        found[row.room][row.offset] = Said(row.sender, row.client_id, row.text, row.changed, row.deleted_at is not None)
    tops = {row.name: row.offset for row in ends}
    story.counts["doubles"] += sum(times - 1 for times in ids.values())
    for room, log in story.logs.items():
        compare(story, room, log, found[room])
        if tops[room] != max(story.taken[room], default=0):
            story.wrong.append(f"{room}: the table says that the log ends at {tops[room]}")


def table_of(story: Story, seconds: float) -> Table:
    """Build the table of the counts."""
    lines = (
        ("kills", "kills"),
        ("sends acknowledged", "chat.send"),
        ("edits acknowledged", "chat.edit"),
        ("pieces acknowledged", "chat.append"),
        ("deletions acknowledged", "chat.delete"),
        ("asked again after a kill", "resent"),
        ("of these, answered as duplicates", "duplicates"),
        ("lost: acknowledged, and gone or different", "lost"),
        ("unasked: stored, and never acknowledged", "unasked"),
        ("holes: offsets that no change has taken", "holes"),
        ("doubles: offsets or client_ids taken twice", "doubles"),
    )
    counts = [(line, story.counts[name]) for line, name in lines]
    table = table_of_counts("Kill -9 under load", [*counts, ("otherwise wrong", len(story.wrong))])
    table.add_row("seconds", f"{seconds:.0f}")
    return table


async def crash(
    *,
    kills: int,
    seconds: float,
    clients: int,
    rooms: int,
    seed: int,
    store: StoreKind,
    window: int | None,
    report: Callable[[str], None],
) -> Story:
    """Run the benchmark on its own store."""
    chance = random.Random(seed)  # noqa: S311 - chance, not secrets
    people = [Person(f"talker-{number}") for number in range(clients)]
    names = [f"room-{number}" for number in range(rooms)]
    story = Story(logs={name: {} for name in names}, taken={name: Counter() for name in names})
    talkers = [Talker(person, names, story, random.Random(chance.random())) for person in people]  # noqa: S311
    with temporary_folder() as folder, store_url(store, folder) as url:
        database = database_for(url)
        try:
            await populate(database, people, dict.fromkeys(names, people))
            await Run(kills, seconds, Server(folder, url, **window_of(window)), talkers, story, chance).run(report)
            await compare_database(database, story)
        finally:
            await database.close()
    return story


def main(
    kills: Annotated[int, typer.Option(min=0, max=10_000, help="How often.")] = 200,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="No more kills after this time.")] = 300,
    clients: Annotated[int, typer.Option(min=1, max=100, help="How many people talk.")] = 12,
    rooms: Annotated[int, typer.Option(min=1, max=100, help="In how many rooms.")] = 4,
    seed: Annotated[int | None, typer.Option(help="Repeats the choices of a run, though not its timing.")] = None,
    store: Annotated[StoreKind, typer.Option(help="Which store.")] = StoreKind.SQLITE,
    window: Annotated[int | None, typer.Option(help="Changes of a room that the gateway remembers.")] = None,
) -> None:
    """Kill the gateway under load, again and again; exit with 1 if anything acknowledged is lost."""
    console = Console(highlight=False)
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    console.print(f"store {store}, seed {seed}")
    began = time.monotonic()
    with interruptible():
        story = uvloop.run(
            crash(
                kills=kills,
                seconds=seconds,
                clients=clients,
                rooms=rooms,
                seed=seed,
                store=store,
                window=window,
                report=console.print,
            )
        )
    console.print(table_of(story, time.monotonic() - began))
    failed = any(story.counts[name] for name in ("lost", "unasked", "holes", "doubles"))
    conclude(console, story.wrong, failed=failed)


if __name__ == "__main__":
    typer.run(main)
