"""Rolls dice for a room."""

import random
from typing import ClassVar

from pydantic import Field

from handlers.base import MsgHandler
from handlers.errors import AppError
from handlers.registry import BUILT_IN, Registry
from schemas.base import Event, Wire
from schemas.names import RoomName


class Roll(Wire):
    """Roll a die for a room."""

    room: RoomName
    sides: int = Field(default=6, ge=2, le=100)


class Rolled(Wire):
    """What came up."""

    value: int


class DiceRolled(Event):
    """A member has rolled a die."""

    type: ClassVar[str] = "dice.rolled"

    user: str
    value: int


class NotYourTurn(AppError):
    """Another member rolls first."""

    status = 60001
    name = "not_your_turn"


class RollHandler(MsgHandler[Roll, Rolled, random.Random]):
    """Rolls a die. The application's state is the source of its randomness."""

    schema = Roll
    scope = "chat:write"

    async def handle(self, data: Roll) -> Rolled:
        """Show the room the value, and return it."""
        if await self.session.rooms.role(data.room) == "member":
            raise NotYourTurn("expected the owner or a moderator to roll first")
        value = self.session.state.randint(1, data.sides)
        await self.session.rooms.publish(data.room, DiceRolled(user=self.session.user, value=value))
        return Rolled(value=value)


registry = BUILT_IN | Registry(handlers={"dice.roll": RollHandler}, events=(DiceRolled,), errors=(NotYourTurn,))
