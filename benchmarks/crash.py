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
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.report import conclude, interruptible, table_of_counts
from benchmarks.rig import (
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
from benchmarks.story import Story, compare, compare_database, read_log, reply_to
from benchmarks.talker import Talker

STARTING = 0.1
"""The share of lives that end while the gateway starts."""

START_SECONDS = 0.3
MEAN_LIFE_SECONDS = 0.6
LONGEST_LIFE_SECONDS = 3.0
LAST_WORDS_SECONDS = 60


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
        if self.story.counts["refused"]:
            self.story.wrong.append(f"{self.story.counts['refused']} requests were refused")
        left = sum(len(talker.unanswered) for talker in self.talkers)
        if left:
            self.story.wrong.append(f"{left} wishes were never answered")

    async def _compare(self) -> None:
        reader = await connect(self.server, self.talkers[0].person)
        for room, log in self.story.logs.items():
            joined = await reply_to(reader, "room.join", room=room)
            told = await read_log(reader, room)
            # Only the sender sees a message's `client_id`, so the database is compared for that.
            compare(self.story, room, {offset: replace(said, client_id=None) for offset, said in log.items()}, told)
            self.story.count_offsets(room, joined["offset"])
        await reader.close()


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
    story = Story.of(names)
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
