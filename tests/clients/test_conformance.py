"""Each client passes every story of `gateway conformance`."""

import sys

import pytest

from gateway.conformance.story import load_stories, stories_folder
from tests.support.node import node
from tests.support.stories import judge

DRIVERS = {
    "javascript": [node(), "clients/javascript/conformance/driver.mjs"],
    "python": [sys.executable, "clients/python/conformance/driver.py"],
}


@pytest.mark.server
@pytest.mark.parametrize("client", DRIVERS)
async def test_a_client_passes_every_story(client: str) -> None:
    stories = load_stories(stories_folder())
    found = await judge(DRIVERS[client], stories)
    assert len(found) == len(stories)
    assert [verdict for verdict in found.values() if verdict.result != "passed"] == []
