"""The stories judge a client: a plain one passes them all."""

import sys
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

import pytest

from gateway.conformance.play import Pace, Verdict, verdicts
from gateway.conformance.story import Story, load_stories, stories_folder

ROOT = Path(__file__).parents[3]
PLAIN = [sys.executable, "-m", "tests.gateway.conformance.plain_driver"]
PACE = Pace(scale=0.1, patience=3)

pytestmark = pytest.mark.server


async def judge(command: Sequence[str], stories: Sequence[Story] | None = None) -> list[Verdict]:
    with chdir(ROOT):
        found = verdicts(stories or load_stories(stories_folder()), command, 6, PACE)
        return [verdict async for verdict in found]


async def test_a_client_that_keeps_the_rules_passes_every_story() -> None:
    assert [verdict for verdict in await judge(PLAIN) if verdict.result != "passed"] == []
