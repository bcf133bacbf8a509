"""What a story asks the client to do, and how the client must answer."""

from typing import Any, Literal

from pydantic import Field

from gateway.conformance.matching import filled, fits
from gateway.conformance.stage import Failed, Stage, shown
from gateway.conformance.steps.step import WAIT_MS, Step

Command = Literal["connect", "call", "stream", "cancel", "join", "send", "leave", "events", "foreground", "close"]


class ClientStep(Step):
    """Send the driver a command. Without `as`, wait for its answer."""

    client: Command
    data: dict[str, Any] = Field(default_factory=dict)
    name: str | None = Field(default=None, alias="as")
    replies: Any = "$_"
    fails: Any = None
    within_ms: float = WAIT_MS

    async def play(self, stage: Stage) -> None:
        """Send it, and wait if the story does not go on at once."""
        stage.begin(self.client, self._data(stage), self.name or self.client)
        if self.name is None:
            await check_answer(stage, self.client, self.replies, self.fails, self.within_ms)

    def _data(self, stage: Stage) -> dict[str, Any]:
        if self.client == "connect":
            return {"url": stage.server.url, "scale": stage.scale} | self.data
        if self.client == "cancel":
            return {"id": stage.ids[self.data["as"]]}
        return self.data


class AnswerStep(Step):
    """Wait for the answer to a command that an earlier step has named."""

    answer: str
    replies: Any = "$_"
    fails: Any = None
    within_ms: float = WAIT_MS

    async def play(self, stage: Stage) -> None:
        """Wait for it."""
        await check_answer(stage, self.answer, self.replies, self.fails, self.within_ms)


class PendingStep(Step):
    """Check that a command has no answer so far."""

    pending: str

    async def play(self, stage: Stage) -> None:
        """Check it."""
        if stage.commands[self.pending].done():
            raise Failed(f"no answer to `{self.pending}` so far", shown(await stage.commands[self.pending]))


class TokensStep(Step):
    """Say how the client's next requests for a token are answered."""

    tokens: list[Literal["new", "old", "throws", "hangs", "nonsense", "garbage"] | dict[str, float]]

    async def play(self, stage: Stage) -> None:
        """Set it."""
        stage.tokens.clear()
        stage.tokens.extend(self.tokens)


async def check_answer(stage: Stage, name: str, replies: Any, fails: Any, within_ms: float) -> None:
    """Wait for an answer of a driver, and raise `Failed` for another one than expected."""
    wanted = {"type": "reply", "data": replies} if fails is None else {"type": "error", "data": fails}
    got = await stage.answer(name, within_ms / 1000 * stage.patience)
    if not fits(wanted, {"data": {}, **got}, stage.names):
        raise Failed(f"`{name}`: {shown(filled(wanted, stage.names))}", shown(got))
