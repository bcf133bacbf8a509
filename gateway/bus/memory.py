"""The bus of a gateway in one process.

Nothing is lost, and an event has been delivered before `publish` returns.
"""

from gateway.bus.base import BusCounters, BusEvent, Missed, Receive, Revoke, Revoked
from gateway.core import faults
from gateway.core.faults import contained


class MemoryBus:
    """Passes events directly to the only node."""

    def __init__(self) -> None:
        self.counters = BusCounters()
        self.waiting = 0
        self._receive: Receive | None = None
        self._revoke: Revoke | None = None
        self._missed: Missed | None = None

    @property
    def is_up(self) -> bool:
        """Return True: it is always up."""
        return True

    @property
    def is_shared(self) -> bool:
        """Return False: there are no other nodes."""
        return False

    async def start(self, receive: Receive, revoke: Revoke, missed: Missed) -> None:
        """Pass events to `receive` and revocations to `revoke`. `missed` gets the events that `receive` failed on."""
        self._receive = receive
        self._revoke = revoke
        self._missed = missed

    async def check(self) -> None:
        """Do nothing: it is always available."""

    async def publish(self, event: BusEvent) -> int:
        """Deliver an event on this node."""
        try:
            return self._receive(event) if self._receive is not None else 0
        except Exception as fault:  # not the publisher's fault, and the room's log still has the event
            faults.record("bus", fault)
            self._tell_missed(event.room)
            return 0

    async def revoke(self, revoked: Revoked) -> None:
        """Revoke the sessions on this node."""
        if self._revoke is not None:
            with contained("bus"):
                self._revoke(revoked)

    async def subscribe(self, room: str) -> None:
        """Do nothing: the hub knows its rooms."""

    def unsubscribe(self, room: str) -> None:
        """Do nothing: the hub knows its rooms."""

    async def close(self) -> None:
        """Stop the bus."""
        self._receive = self._revoke = self._missed = None

    def _tell_missed(self, room: str | None) -> None:
        if room is not None and self._missed is not None:
            with contained("bus"):
                self._missed(room)
