"""Plays stories with drivers, several at a time."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from gateway.conformance.driver import BrokenDriver, Driver, Introduction
from gateway.conformance.journal import Entry, Journal
from gateway.conformance.server import UnreliableServer
from gateway.conformance.stage import Failed, Stage
from gateway.conformance.story import Story
from gateway.conformance.world import World

STORY_SECONDS = 30


@dataclass(frozen=True)
class Verdict:
    """What came of a story."""

    story: str
    result: str
    """`passed`, `failed` or `skipped`."""
    rule: str
    section: str
    seconds: float = 0
    step: int = 0
    expected: str = ""
    got: str = ""
    trace: tuple[Entry, ...] = field(default=(), repr=False)
    """What the client did, for a story that failed."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, without what is empty."""
        return {name: value for name, value in asdict(self).items() if name != "trace" and value not in ("", 0)}


class Worlds:
    """The gateways of a run: one for each difference of clocks."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._worlds: dict[float, World] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def world_of(self, story: Story) -> World:
        """Return the gateway for a story, and start it first if necessary."""
        if story.own_gateway:
            return await self._stack.enter_async_context(World(story.clock_seconds))
        async with self._lock:
            if story.clock_seconds not in self._worlds:
                self._worlds[story.clock_seconds] = await self._stack.enter_async_context(World(story.clock_seconds))
        return self._worlds[story.clock_seconds]


@dataclass(frozen=True)
class Pace:
    """How quickly stories run: the factor for the client's waits, and the factor for ours."""

    scale: float
    patience: float


async def verdicts(
    stories: Sequence[Story], command: Sequence[str], jobs: int, pace: Pace, worlds: Worlds
) -> AsyncIterator[Verdict]:
    """Yield the verdict of each story as soon as it is there. The longest ones begin first."""
    waiting, done = sorted(stories, key=lambda story: story.least_seconds), asyncio.Queue[Verdict]()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(jobs, len(waiting))):
            group.create_task(_play_all(waiting, command, worlds, pace, done))
        for _ in stories:
            yield await done.get()


async def _play_all(
    waiting: list[Story], command: Sequence[str], worlds: Worlds, pace: Pace, done: asyncio.Queue[Verdict]
) -> None:
    """Play stories until none waits. After one that breaks the driver, go on with another driver."""
    driver: Driver | None = None
    client: Introduction | None = None
    try:
        while waiting:
            story = waiting.pop()
            if driver is None:
                driver = await Driver.start(command)
            try:
                client = client or await driver.introduce()
            except BrokenDriver as broken:
                done.put_nowait(_failed(story, 0, 0, Failed("a driver", str(broken)), Journal()))
                await driver.stop()
                driver = None
                continue
            if lacks := sorted(set(story.needs) - client.capabilities):
                done.put_nowait(Verdict(story.name, "skipped", story.rule, story.section, got=f"no {', '.join(lacks)}"))
                continue
            done.put_nowait(await _play(story, driver, await worlds.world_of(story), pace))
            if not await driver.close_client():
                await driver.stop()
                driver = None
    finally:
        if driver is not None:
            await driver.stop()


async def _play(story: Story, driver: Driver, world: World, pace: Pace) -> Verdict:
    """Play a story, and return its verdict."""
    began, journal = time.monotonic(), Journal()
    server = UnreliableServer(lambda: world.gateway.ws_url, journal)
    async with server.running():
        stage = Stage(
            driver, server, world, journal, pace.scale * story.scale, pace.patience, story.token_seconds, story.names
        )
        driver.listen(stage.notice)
        try:
            async with asyncio.timeout(STORY_SECONDS * pace.patience):
                await _play_steps(story, stage)
        except Failed as failed:
            return _failed(story, stage.step, time.monotonic() - began, failed, journal)
        except (TimeoutError, BrokenDriver) as error:
            late = Failed("an end", str(error) or "none in time")
            return _failed(story, stage.step, time.monotonic() - began, late, journal)
        finally:
            await stage.end()
    return Verdict(story.name, "passed", story.rule, story.section, round(time.monotonic() - began, 2))


async def _play_steps(story: Story, stage: Stage) -> None:
    for step in story.steps:
        stage.step += 1
        await step.play(stage)
        if stage.driver.problem is not None:
            raise Failed("a driver that goes on", stage.driver.problem)


def _failed(story: Story, step: int, seconds: float, why: Failed, journal: Journal) -> Verdict:
    trace = tuple(journal.entries)
    about = (story.rule, story.section, round(seconds, 2), step)
    return Verdict(story.name, "failed", *about, expected=why.expected, got=why.got, trace=trace)
