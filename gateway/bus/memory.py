"""The bus of a gateway in one process.

Nothing is lost, and an event has been delivered before `publish` returns.
"""

import secrets

from gateway.bus.base import (
    BusCounters,
    BusEvent,
    NodeMessage,
    OnEvent,
    OnMissed,
    OnNodeMessage,
    OnRevoked,
    Revoked,
    room_of,
)
from gateway.core import faults
from gateway.core.faults import contained


class MemoryBus:
    """Passes events directly to the only node."""

    def __init__(self) -> None:
        self.node = secrets.token_hex(8)
        self.counters = BusCounters()
        self.waiting = 0
        self._on_event: OnEvent | None = None
        self._on_revoked: OnRevoked | None = None
        self._on_missed: OnMissed | None = None

    @property
    def is_up(self) -> bool:
        """Return True: it is always up."""
        return True

    @property
    def is_shared(self) -> bool:
        """Return False: there are no other nodes."""
        return False

    async def start(self, on_event: OnEvent, on_revoked: OnRevoked, on_missed: OnMissed) -> None:
        """Pass events and revocations on. `on_missed` gets the events that `on_event` failed on."""
        self._on_event = on_event
        self._on_revoked = on_revoked
        self._on_missed = on_missed

    async def check(self) -> None:
        """Do nothing: it is always available."""

    async def publish(self, event: BusEvent) -> int:
        """Deliver an event on this node."""
        try:
            return self._on_event(event) if self._on_event is not None else 0
        except Exception as fault:  # not the publisher's fault, and the room's log still has the event
            faults.record("bus", fault)
            self._report_missed(room_of(event))
            return 0

    async def revoke(self, revoked: Revoked) -> None:
        """Revoke the sessions on this node."""
        if self._on_revoked is not None:
            with contained("bus"):
                self._on_revoked(revoked)

    def listen(self, on_node_message: OnNodeMessage) -> None:
        """Do nothing: there are no other nodes."""

    def send(self, node: str | None, message: NodeMessage) -> bool:
        """Return False: there are no other nodes."""
        return False

    async def subscribe(self, room: str) -> None:
        """Do nothing: the hub knows its rooms."""

    def unsubscribe(self, room: str) -> None:
        """Do nothing: the hub knows its rooms."""

    async def close(self) -> None:
        """Stop the bus."""
        self._on_event = self._on_revoked = self._on_missed = None

    def _report_missed(self, room: str | None) -> None:
        if room is not None and self._on_missed is not None:
            with contained("bus"):
                self._on_missed(room)
