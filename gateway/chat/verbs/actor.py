"""Who does what the verbs say."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.core.rate_limits import Allowance
from gateway.rooms.room import Listener
from gateway.state import Services


class Actor(Listener, Protocol):
    """A session, as its verbs see it."""

    services: Services
    joins: Allowance
    """How fast it may join rooms."""
    writes: Allowance
    """How many bytes it may write."""

    def charge(self, cost: float) -> None:
        """Take what a message costs beyond being one, in messages, from what the user may do in a second."""

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a transaction that reads the store, and charge it."""

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Begin a transaction that writes to the store, and charge it."""

    def tell_held(self) -> None:
        """Send the events that wait for the reply to this message, ahead of it."""
