"""What the log knows of events for other services: they are stored with the changes that they are about."""

from collections.abc import Sequence
from typing import Any, Protocol

from gateway.store.prepared import Script


class OutgoingEvents(Protocol):
    """Stores events in the transaction of the changes, so that none is lost and none is about a change undone.

    It must cost nothing while no service wants an event of this kind.
    """

    def store(self, outcomes: Sequence[Any], now: int) -> Script[None]:
        """Store the events about these outcomes of changes. `now` is in milliseconds since 1970."""

    def committed(self) -> None:
        """Learn that a transaction is durable, so that its events may go out."""
