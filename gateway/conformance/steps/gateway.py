"""What happens at the live gateway, without the client and the server between them."""

from typing import Any, Literal

from gateway.conformance.matching import filled, fits
from gateway.conformance.stage import Failed, Stage, shown
from gateway.conformance.steps.step import Step


class SaysStep(Step):
    """Let another user join a room and send texts into it."""

    says: list[str]
    room: str = "$room"
    user: str = "bob"

    async def play(self, stage: Stage) -> None:
        """Send them, one after the other."""
        room, user = str(filled(self.room, stage.names)), stage.person(self.user)
        await stage.world.call(user, "room.join", {"room": room, "limit": 0})
        for text in self.says:
            await stage.world.call(user, "chat.send", {"room": room, "text": str(filled(text, stage.names))})


class FillsStep(Step):
    """Let another user send so many texts into a room: `1`, `2`, and so on, each as long as `characters` says."""

    fills: int
    room: str = "$room"
    characters: int = 0
    user: str = "bob"

    async def play(self, stage: Stage) -> None:
        """Send them."""
        texts = [str(number).ljust(self.characters, ".") for number in range(1, self.fills + 1)]
        await SaysStep(says=texts, room=self.room, user=self.user).play(stage)


class AsksStep(Step):
    """Let a user send a message over HTTP. The user `$user` is the client's own."""

    asks: str
    data: dict[str, Any]
    user: str = "bob"
    replies: Any = "$_"

    async def play(self, stage: Stage) -> None:
        """Send it."""
        user = stage.names["user"] if self.user == "$user" else stage.person(self.user)
        got = await stage.world.call(user, self.asks, filled(self.data, stage.names))
        if not fits(self.replies, got, stage.names):
            raise Failed(f"the gateway's reply {shown(filled(self.replies, stage.names))}", shown(got))


class GatewayStep(Step):
    """Do something to the gateway.

    `restart` stops it in order and starts it again: the story needs a gateway of its own. `end session` ends the
    session of the client's tokens.
    """

    gateway: Literal["restart", "end session"]

    async def play(self, stage: Stage) -> None:
        """Do it."""
        if self.gateway == "restart":
            await stage.world.restart()
        else:
            await stage.world.end_session(stage.names["user"])
