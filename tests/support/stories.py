"""Plays the stories of `gateway conformance` with a driver."""

from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from gateway.conformance.play import Pace, Verdict, Worlds, verdicts
from gateway.conformance.story import Story

ROOT = Path(__file__).parents[2]
JOBS = 10


async def judge(
    command: Sequence[str], stories: Sequence[Story], *, jobs: int = JOBS, patience: float = 3
) -> dict[str, Verdict]:
    """Return the verdicts by story. The driver starts in the root of the repository."""
    with chdir(ROOT):
        async with Worlds() as worlds:
            found = verdicts(stories, command, jobs, Pace(scale=0.1, patience=patience), worlds)
            return {verdict.story: verdict async for verdict in found}
