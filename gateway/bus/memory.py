"""The bus of a gateway that is one process: nothing is lost, and an event arrives before `publish` returns."""

from gateway.bus.base import BusCounts, BusEvent, Missed, Receive, Revoke, Revoked


class MemoryBus:
    """Hands events straight to the one node that there is."""

    def __init__(self) -> None:
        self.counts = BusCounts()
        self.waiting = 0
        self._receive: Receive | None = None
        self._revoke: Revoke | None = None

    @property
    def is_up(self) -> bool:
        """Always."""
        return True

    @property
    def is_shared(self) -> bool:
        """Never."""
        return False

    async def start(self, receive: Receive, revoke: Revoke, missed: Missed) -> None:
        """Begin to give events to `receive`, and revocations to `revoke`. Nothing is ever missed."""
        self._receive = receive
        self._revoke = revoke

    async def check(self) -> None:
        """Nothing to do: it is there."""

    async def publish(self, event: BusEvent) -> int:
        """Give an event to this node."""
        return self._receive(event) if self._receive is not None else 0

    async def revoke(self, revoked: Revoked) -> None:
        """Tell this node."""
        if self._revoke is not None:
            self._revoke(revoked)

    async def subscribe(self, room: str) -> None:
        """Nothing to do: the hub knows its rooms."""

    def unsubscribe(self, room: str) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Stop."""
        self._receive = self._revoke = None
