"""The bus of a gateway that is one process: nothing is lost, and an event arrives before `publish` returns."""

from gateway.bus.base import BusCounters, BusEvent, Missed, Receive, Revoke, Revoked
from gateway.core import faults
from gateway.core.faults import contained


class MemoryBus:
    """Hands events straight to the one node that there is."""

    def __init__(self) -> None:
        self.counters = BusCounters()
        self.waiting = 0
        self._receive: Receive | None = None
        self._revoke: Revoke | None = None
        self._missed: Missed | None = None

    @property
    def is_up(self) -> bool:
        """Always."""
        return True

    @property
    def is_shared(self) -> bool:
        """Never."""
        return False

    async def start(self, receive: Receive, revoke: Revoke, missed: Missed) -> None:
        """Begin to pass events to `receive`, revocations to `revoke`, and to `missed` what `receive` has failed at."""
        self._receive = receive
        self._revoke = revoke
        self._missed = missed

    async def check(self) -> None:
        """Nothing to do: it is there."""

    async def publish(self, event: BusEvent) -> int:
        """Give an event to this node."""
        try:
            return self._receive(event) if self._receive is not None else 0
        except Exception as fault:  # it is not the publisher's, and the log of the room still has the event
            faults.record("bus", fault)
            self._tell_missed(event.room)
            return 0

    async def revoke(self, revoked: Revoked) -> None:
        """Tell this node."""
        if self._revoke is not None:
            with contained("bus"):
                self._revoke(revoked)

    async def subscribe(self, room: str) -> None:
        """Nothing to do: the hub knows its rooms."""

    def unsubscribe(self, room: str) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Stop."""
        self._receive = self._revoke = self._missed = None

    def _tell_missed(self, room: str | None) -> None:
        if room is not None and self._missed is not None:
            with contained("bus"):
                self._missed(room)
