"""What the client must have done, or must not do."""

import asyncio
from typing import Any, Literal

from gateway.conformance.matching import filled
from gateway.conformance.stage import Failed, Stage, shown
from gateway.conformance.steps.step import WAIT_MS, Step

Kind = Literal[
    "connection", "login", "frame", "closed", "state", "event", "message", "gap", "chunk", "token", "problem"
]


class ExpectStep(Step):
    """Wait for the next entry of the journal that fits. Later steps look behind it only."""

    expect: Kind
    match: Any = "$_"
    within_ms: float = WAIT_MS

    async def play(self, stage: Stage) -> None:
        """Wait for it."""
        await stage.find(self.expect, self.match, self.within_ms / 1000 * stage.patience)


class NoneStep(Step):
    """Check that nothing that fits comes for so long, besides what the story has looked at."""

    none: Kind
    match: Any = "$_"
    for_ms: float = 0

    async def play(self, stage: Stage) -> None:
        """Wait, then look."""
        first = stage.cursors.get(self.none, 0)
        await stage.journal.until(lambda: bool(stage.fitting(self.none, self.match, first)), self.for_ms / 1000)
        if found := stage.fitting(self.none, self.match, first):
            expected = f"no {self.none} {shown(filled(self.match, stage.names))} within {self.for_ms:g} ms"
            raise Failed(expected, shown(found[0]))


class CountStep(Step):
    """Count the entries of the whole story that fit."""

    count: Kind
    match: Any = "$_"
    at_least: int = 0
    at_most: int = 1_000_000

    async def play(self, stage: Stage) -> None:
        """Count them."""
        found = stage.fitting(self.count, self.match)
        if not self.at_least <= len(found) <= self.at_most:
            what = f"{self.count} {shown(filled(self.match, stage.names))}"
            raise Failed(
                f"{self.at_least} to {self.at_most} of {what}", f"{len(found)}: {', '.join(map(shown, found[-4:]))}"
            )


class HeardStep(Step):
    """Wait until the client has reported exactly these texts of a room, each once and in this order."""

    heard: list[str] | int
    room: str = "$room"
    within_ms: float = WAIT_MS

    async def play(self, stage: Stage) -> None:
        """Wait for them."""
        texts = self.heard if isinstance(self.heard, list) else [str(n) for n in range(1, self.heard + 1)]
        expected, room = filled(texts, stage.names), filled(self.room, stage.names)
        seconds = self.within_ms / 1000 * stage.patience
        await stage.journal.until(lambda: len(_texts(stage, room)) >= len(expected), seconds)
        if (got := _texts(stage, room)) != expected:
            raise Failed(f"the texts {shown(expected)} of the room", shown(got))


class PauseStep(Step):
    """Let time pass: for a story about time."""

    pause_ms: float

    async def play(self, _: Stage) -> None:
        """Wait."""
        await asyncio.sleep(self.pause_ms / 1000)


class LookedStep(Step):
    """Regard all entries of some kinds as looked at."""

    looked: list[Kind]

    async def play(self, stage: Stage) -> None:
        """Move on."""
        for kind in self.looked:
            stage.cursors[kind] = len(stage.journal.of(kind))


def _texts(stage: Stage, room: str) -> list[str]:
    """Return the texts of new messages that the client has reported for a room."""
    messages = [found.get("data") or {} for found in stage.fitting("message", {"room": room})]
    return [str(each.get("text")).rstrip(".") for each in messages if each.get("changed") == each.get("offset")]
