"""The session, as its verbs see it."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.rate_limits import Allowance
from gateway.rooms.room import Listener
from gateway.state import GatewayState


class Actor(Listener, Protocol):
    """A session, as its verbs see it."""

    gateway: GatewayState
    joins: Allowance
    """Its allowance of joins."""
    writes: Allowance
    """Its allowance of written bytes."""

    def charge(self, cost: float) -> None:
        """Charge the user's rate with the extra cost of a message, in messages."""

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a read of the store, and charge it."""

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a write to the store, and charge it."""

    def send_held_events(self) -> None:
        """Send the events that wait for the reply to this message before the reply."""
