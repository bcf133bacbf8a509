"""Tries one fault: users talk before, during and after it, and everything is compared at the end."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import text

from benchmarks.rig import Server, database_for
from benchmarks.story import compare_database
from gateway.core.tasks import cancel_and_wait
from proofs.bar import Bar, Report, Scale
from proofs.faults.crowd import Crowd
from proofs.faults.fault import Fault
from proofs.faults.probe import is_ready, takes_a_message
from proofs.faults.site import Site, rooms_of

CALM_SECONDS = 1.5
"""How long users talk before a fault and after it."""

GIVE_UP_SECONDS = 60.0
"""After this long, a node that is not back will not come back by itself."""

PROBE_SECONDS = 0.1

LOST = ("lost", "holes", "missed", "behind", "different")
DOUBLED = ("doubles", "doubled", "unasked")
DISORDER = ("disorder",)

MOST_LINES = 12
"""How many faults of a trial are shown."""

S = TypeVar("S", bound=Site)


@dataclass
class Trial:
    """What one fault has shown."""

    name: str
    limit: float
    crowd: Crowd
    back: float | None
    during: int
    """How many requests were acknowledged while it lasted, after it was made."""
    silence: float = 0.0
    """The longest time without any."""
    most_silence: float | None = None
    most_during: int | None = None
    must_resume: bool = False
    doubt: str = ""
    """What speaks against the fault itself: that it did not take hold."""

    @property
    def is_real(self) -> bool:
        """Return whether the fault took hold, and clients came back where it cut them off."""
        is_felt = self.most_during is None or self.during <= self.most_during
        return not self.doubt and is_felt and (not self.must_resume or self.resumed > 0)

    @property
    def resumed(self) -> int:
        """Return how many joins brought what a client had missed."""
        return self.crowd.sightings.counts["recovered"]

    def count(self, kinds: Sequence[str]) -> int:
        """Return how many faults of some kinds there were."""
        return sum(self.crowd.story.counts[kind] + self.crowd.sightings.counts[kind] for kind in kinds)

    @property
    def wrong(self) -> list[str]:
        """Return all faults in words."""
        return self.crowd.story.wrong + self.crowd.sightings.wrong

    def bar(self) -> Bar:
        """Return the line of the table."""
        lost, doubled, disorder = (self.count(kinds) for kinds in (LOST, DOUBLED, DISORDER))
        back = "not back" if self.back is None else f"back in {self.back:.1f} s"
        is_whole = not (lost or doubled or disorder or self.wrong) and self.back is not None and self.is_real
        silence = "" if self.most_silence is None else f", silent for {self.most_silence:g} s"
        is_silent = self.most_silence is not None and self.silence > self.most_silence
        most = "" if self.most_during is None else f", ≤ {self.most_during} acknowledged meanwhile"
        resumes = ", ≥ 1 resume" if self.must_resume else ""
        doubt = self.doubt and f"; {self.doubt}"
        return Bar(
            self.name,
            f"0 lost, 0 doubled, 0 out of order, back in {self.limit:g} s{silence}{most}{resumes}",
            f"{lost} lost, {doubled} doubled, {disorder} out of order, {back}, silent for {self.silence:.1f} s;"
            f" {self.crowd.acknowledged:,} acknowledged ({self.during:,} meanwhile), {self.resumed} resumes{doubt}",
            is_whole and not is_silent and self.back is not None and self.back <= self.limit,
            is_figure=is_whole,  # only times are left to miss
        )


class Silence:
    """Measures the longest time without an acknowledgement, while the context lasts."""

    def __init__(self, crowd: Crowd) -> None:
        self.longest = 0.0
        self._crowd = crowd
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._measure())

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None  # noqa: S101 - entered
        await cancel_and_wait(self._task)

    async def _measure(self) -> None:
        known, since = self._crowd.acknowledged, time.monotonic()
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            if self._crowd.acknowledged != known:
                known, since = self._crowd.acknowledged, time.monotonic()
            self.longest = max(self.longest, time.monotonic() - since)


async def tried(site: S, fault: Fault[S], scale: Scale, seed: int, report: Report) -> Trial:
    """Make a fault while users talk, end it, and compare."""
    crowd = Crowd(site.people, site.servers, rooms_of(fault.name), seed)
    async with crowd:
        await _until_all_is_well(crowd)
        silence = Silence(crowd)
        async with silence:
            await fault.make(site)
            before = crowd.acknowledged
            await fault.last(site, fault.amount(scale))
        during = crowd.acknowledged - before
        doubt = await fault.doubt(site)
        await fault.end(site)
        back = await _seconds_until_back(site)
        await asyncio.sleep(CALM_SECONDS)
        await crowd.finish()
        await _compare_store(site, crowd)
    limits = (fault.silence, fault.most, fault.cuts_clients)
    trial = Trial(fault.name, fault.back, crowd, back, during, silence.longest, *limits, doubt)
    report(f"{fault.name}: {trial.bar().found} {dict(crowd.story.counts + crowd.sightings.counts)}")
    for line in trial.wrong[:MOST_LINES]:
        report(f"{fault.name}, seed {seed}: {line}")
    return trial


async def _until_all_is_well(crowd: Crowd) -> None:
    await asyncio.sleep(CALM_SECONDS)
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not crowd.acknowledged:  # noqa: ASYNC110 - a busy machine takes longer
            await asyncio.sleep(PROBE_SECONDS)


async def _compare_store(site: Site, crowd: Crowd) -> None:
    database = database_for(site.url)
    try:
        await compare_database(database, crowd.story)
        if site.url.startswith("sqlite:"):
            [found] = await database.query(lambda reading: reading.execute(text("PRAGMA integrity_check")).all())
            if found != ("ok",):
                crowd.story.wrong.append(f"the file is damaged: {found}")
    finally:
        await database.close()


async def _seconds_until_back(site: Site) -> float | None:
    """Return how long it takes until all nodes are ready and take a message, or None if they do not come back."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await asyncio.gather(*(_until_back(site, server) for server in site.servers))
    except TimeoutError:
        return None
    return time.monotonic() - began


async def _until_back(site: Site, server: Server) -> None:
    while not (await is_ready(server) and await takes_a_message(site, server)):  # noqa: ASYNC110 - no sign comes
        await asyncio.sleep(PROBE_SECONDS)
