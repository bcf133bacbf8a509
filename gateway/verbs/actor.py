"""Who does what the verbs say."""

from typing import Protocol

from gateway.limits import TokenBucket
from gateway.rooms.hub import Listener
from gateway.services import Services


class Actor(Listener, Protocol):
    """A session, as its verbs see it."""

    services: Services
    joins: TokenBucket
    """How many rooms it may join, and how fast."""

    def tell_held(self) -> None:
        """Send the events that wait for the reply to this message, ahead of it."""
