"""The stories judge a client: one that keeps the rules passes them all, and one that breaks a rule fails its story."""

import sys

import pytest

from gateway.conformance.steps.client import ClientStep
from gateway.conformance.story import Story, load_stories, stories_folder
from schemas.codes import Close
from tests.support.stories import judge

PLAIN = [sys.executable, "-m", "tests.gateway.conformance.plain_driver"]
STORIES = {story.name: story for story in load_stories(stories_folder())}

BREAKS = {
    "after_ms": "closes/after-delay",
    "blind": "silence/foreground-alive",
    "cancel": "calls/cancel-stream",
    "client_id": "sending/answer-lost",
    "close_codes": "closes/never-without-bye[4403]",
    "expiring": "tokens/expiring",
    "flights": "tokens/one-flight-while-expiring",
    "fragile": "nonsense/text[no JSON]",
    "gaps": "rooms/too-many",
    "hammers": "closes/jitter",
    "ignores_bye": "closes/never[1012]",
    "insists": "tokens/refused-again-and-again[new tokens]",
    "joins": "rooms/resume",
    "keeps_token": "tokens/ends-soon[clock 2 h behind]",
    "local_clock": "tokens/ends-soon[clock 2 h behind]",
    "lost": "rooms/position-lost",
    "never_repeats": "sending/message-lost",
    "pages": "rooms/pages",
    "position": "rooms/resume",
    "reopens": "calls/close",
    "repeats_all": "sending/call[answer lost]",
    "resync": "rooms/resync",
    "silence": "silence/dead",
    "silent": "upgrades/says-what-to-check[502]",
    "stays": "silence/foreground-dead",
    "twice": "rooms/replayed",
}
"""What a plain client may break, and a story that it must then fail."""

pytestmark = pytest.mark.server


def test_each_close_of_the_gateway_is_in_a_story() -> None:
    played = {
        (story.names["code"], story.names["word"], story.names.get("next", "never"))
        for name, story in STORIES.items()
        if name.startswith(("closes/every-kind[", "closes/never["))
    }
    assert {(close.code, close.reason, close.reconnect.value) for close in Close} <= played


async def test_a_client_that_keeps_the_rules_passes_their_stories() -> None:
    found = await judge(PLAIN, [STORIES[name] for name in sorted(set(BREAKS.values()))])
    assert [verdict for verdict in found.values() if verdict.result != "passed"] == []


async def test_a_client_that_breaks_a_rule_fails_the_story_of_that_rule() -> None:
    broken = [_with_a_client_that_breaks(what, STORIES[story]) for what, story in BREAKS.items()]
    found = await judge(PLAIN, broken, patience=0.5)
    assert {what: found[what].result for what in BREAKS} == dict.fromkeys(BREAKS, "failed")


def _with_a_client_that_breaks(what: str, story: Story) -> Story:
    steps = [
        step.model_copy(update={"data": {"breaks": [what]}})
        if isinstance(step, ClientStep) and step.client == "connect"
        else step
        for step in story.steps
    ]
    return story.model_copy(update={"name": what, "steps": steps})
