"""Stories: data that says what happens, and what the client must do."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.conformance.matching import filled
from gateway.conformance.stage import Stage
from gateway.conformance.steps import client, expectations, gateway, server
from gateway.conformance.steps.step import Step
from gateway.core.start_error import StartError

KINDS: dict[str, type[Step]] = {
    "client": client.ClientStep,
    "answer": client.AnswerStep,
    "pending": client.PendingStep,
    "tokens": client.TokensStep,
    "server": server.NowStep,
    "sends": server.SendStep,
    "text": server.SendStep,
    "binary": server.SendStep,
    "closes": server.CloseStep,
    "faulty": server.FaultStep,
    "upgrades": server.UpgradeStep,
    "idle_seconds": server.IdleStep,
    "says": gateway.SaysStep,
    "fills": gateway.FillsStep,
    "asks": gateway.AsksStep,
    "gateway": gateway.GatewayStep,
    "expect": expectations.ExpectStep,
    "none": expectations.NoneStep,
    "count": expectations.CountStep,
    "heard": expectations.HeardStep,
    "pause_ms": expectations.PauseStep,
    "looked": expectations.LookedStep,
}
"""The kinds of steps, by the key that comes first."""


class RepeatStep(Step):
    """Play steps several times. `$n` counts from 1."""

    repeat: int
    steps: "Steps"

    async def play(self, stage: Stage) -> None:
        """Play them."""
        for number in range(1, self.repeat + 1):
            stage.names["n"] = number
            for step in self.steps:
                await step.play(stage)


def _step(value: object) -> object:
    """Return a step of its kind, or raise `ValueError` for a kind that is not known."""
    if not isinstance(value, dict) or not value:
        raise ValueError("expected an object with a key for each part of a step")
    first = next(iter(value))
    if first not in KINDS:
        raise ValueError(f"expected one of {', '.join(KINDS)} as the first key, got {first!r}")
    return KINDS[first].model_validate(value)


Steps = list[Annotated[Any, BeforeValidator(_step)]]
KINDS["repeat"] = RepeatStep
RepeatStep.model_rebuild()


class Story(BaseModel):
    """A story: a rule of the protocol, and the steps that show whether a client keeps it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    about: str
    rule: str
    section: str
    needs: list[str] = Field(default_factory=list)
    """The capabilities without which a client is not judged."""
    scale: float = 1
    """By which the client's waits are shortened further."""
    clock_seconds: float = 7200
    """How far the gateway's clock is ahead of the client's."""
    token_seconds: float = 900
    own_gateway: bool = False
    names: dict[str, Any] = Field(default_factory=dict)
    steps: Steps

    @property
    def least_seconds(self) -> float:
        """Return how long it takes at least."""
        return sum(getattr(step, "pause_ms", 0) + getattr(step, "for_ms", 0) for step in self.steps) / 1000


class _File(BaseModel):
    """A file of stories about one subject."""

    model_config = ConfigDict(extra="forbid")

    rule: str
    section: str
    stories: list[dict[str, Any]]


def stories_folder() -> Path:
    """Return the folder of the stories, in the wheel or in the sources of an editable installation."""
    package = Path(str(files("gateway")))
    for folder in (package / "samples", package.parent):
        if (stories := folder / "clients/stories").is_dir():
            return stories
    raise AssertionError("the stories are missing from this installation")


def load_stories(folder: Path) -> list[Story]:
    """Return all stories of a folder, each with the name of its file before its own."""
    stories = [story for path in sorted(folder.glob("*.json")) for story in _of_file(path)]
    if not stories:
        raise StartError(f"{folder}: expected files with stories, found none")
    return stories


def _of_file(path: Path) -> Iterator[Story]:
    try:
        file = _File.model_validate_json(path.read_bytes())
        for each in file.stories:
            yield from _cases(path.stem, {"rule": file.rule, "section": file.section} | each)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise StartError(f"{path}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None


def _cases(topic: str, story: dict[str, Any]) -> Iterator[Story]:
    """Yield a story, or one for each of its `cases`. The keys of a case are names in the steps."""
    cases = story.pop("cases", [{}])
    name = f"{topic}/{story.get('name')}"
    for case in cases:
        made = f"{name}[{case['case']}]" if case else name
        yield Story.model_validate(json.loads(json.dumps(filled(story, case))) | {"name": made, "names": case})
