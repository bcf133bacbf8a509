"""How the server misbehaves."""

import base64
import json
from typing import Any, Literal

from pydantic import Field

from gateway.conformance.matching import filled
from gateway.conformance.server import Fault, Refusal
from gateway.conformance.stage import Stage
from gateway.conformance.steps.step import Step

FRAME = "a frame that never ends"


class NowStep(Step):
    """Do something to the newest connection.

    `drop` ends it, `cut` ends it in the middle of a frame, `garble` sends a text that is no UTF-8, and `silence` keeps
    it open without a word.
    """

    server: Literal["drop", "cut", "garble", "silence"]

    async def play(self, stage: Stage) -> None:
        """Do it."""
        link = stage.server.link
        if self.server == "silence":
            link.mute = True
        elif self.server == "garble":
            link.garble()
        else:
            link.cut(FRAME * 10 if self.server == "cut" else None)


class SendStep(Step):
    """Send the client something that the gateway has not sent: a frame, a text, or bytes in base64."""

    sends: dict[str, Any] | None = None
    text: str | None = None
    binary: str | None = None

    async def play(self, stage: Stage) -> None:
        """Send it."""
        if self.binary is not None:
            await stage.server.send(base64.b64decode(self.binary))
        elif self.text is not None:
            await stage.server.send(str(filled(self.text, stage.names)))
        else:
            await stage.server.send(json.dumps(filled(self.sends, stage.names), ensure_ascii=False))


class CloseStep(Step):
    """Close the newest connection. With `reconnect`, `bye` comes before, as the gateway sends it."""

    closes: int | str
    reason: str = ""
    reconnect: str | None = None
    after_ms: int | float | str | None = None

    async def play(self, stage: Stage) -> None:
        """Close it."""
        found = filled(self.model_dump(exclude_none=True), stage.names)
        bye = {"code": found["closes"], "reason": found["reason"], "reconnect": found.get("reconnect")}
        if "after_ms" in found:
            bye["after_ms"] = found["after_ms"]
        await stage.server.close(int(found["closes"]), found["reason"], bye if self.reconnect else None)


class FaultStep(Step):
    """Do something to the next frames of a type: a message, the answer to it, or an event.

    - `ignore`: keep the message from the gateway, or the event from the client;
    - `drop`: end the connection instead;
    - `answer`: answer with `frame`, without the gateway;
    - `no_answer`, `drop_answer`, `cut_answer`: the gateway gets the message, and the client not its answer;
    - `twice`, `delay`, `hold`: the answer or event comes twice, after `ms`, or after the next frame;
    - `patch`: `frame` is merged into the answer or event.
    """

    faulty: str
    do: Literal["ignore", "drop", "answer", "no_answer", "drop_answer", "cut_answer", "twice", "delay", "hold", "patch"]
    times: int = 1
    ms: float = 0
    frame: dict[str, Any] = Field(default_factory=dict)

    async def play(self, stage: Stage) -> None:
        """Arm it."""
        frame = filled(self.frame, stage.names)
        stage.server.faults.append(Fault(self.faulty, self.do, self.times, self.ms, frame))


class UpgradeStep(Step):
    """Answer the next upgrades wrongly: with an HTTP status, with frames and a close, or never (`hangs`)."""

    upgrades: Literal["refused", "closed", "hang", "pass"]
    status: int | str = 502
    body: str = ""
    frames: list[dict[str, Any]] = Field(default_factory=list)
    code: int = 1008
    reason: str = "authentication_failed"
    times: int = 1

    async def play(self, stage: Stage) -> None:
        """Arm it."""
        stage.server.refusals.clear()
        if self.upgrades == "pass":
            return
        found = filled(self.model_dump(), stage.names)
        status = int(found["status"]) if self.upgrades == "refused" else None
        is_closed = self.upgrades == "closed"
        stage.server.refusals.append(
            Refusal(
                status,
                self.times,
                found["body"],
                found["frames"] if is_closed else [],
                self.code,
                found["reason"] if is_closed else "",
            )
        )


class IdleStep(Step):
    """End connections on which the client is silent for so long, times the scale, as some proxies do."""

    idle_seconds: float

    async def play(self, stage: Stage) -> None:
        """Set it."""
        stage.server.idle_seconds = self.idle_seconds * stage.scale
