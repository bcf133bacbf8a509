"""The bus of a command beside a gateway without a shared bus: it asks the gateway's process to deliver each event.

With a shared bus, a command publishes there itself, as a node does.
"""

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import Any

from gateway.bus import codec
from gateway.bus.base import BusEvent, Logged, OnEvent, OnMissed, OnRevoked, Revoked, room_of
from gateway.bus.memory import MemoryBus
from gateway.core.local_socket import MAX_QUESTION_BYTES, LocalUnavailable, ask

logger = logging.getLogger(__name__)

PUBLISH = "bus.publish"
"""Delivers `messages`: each has a room, or null, and an event or a revocation as the bus carries it."""

CHECK = "rooms.check"
"""Compares `room` with the store, soon: an event of its log is too long to be passed on."""

MAX_BYTES = MAX_QUESTION_BYTES // 3
"""The bytes of the messages in a question. JSON may double them."""

SECONDS = 5.0


class OutsideBus(MemoryBus):
    """Passes events on to the process with a socket. If that ends meanwhile, it has no clients that would miss them."""

    def __init__(self, socket: Path) -> None:
        super().__init__()
        self._socket = socket
        self._signature = codec.signature("command")
        self._events: deque[tuple[str | None, bytes]] = deque()
        self._more = asyncio.Event()
        self._passing: asyncio.Task[None] | None = None
        self._is_closing = False

    async def start(self, on_event: OnEvent, on_revoked: OnRevoked, on_missed: OnMissed) -> None:
        """Start to pass events on. None comes back."""
        self._passing = asyncio.create_task(self._pass_on())

    async def publish(self, event: BusEvent) -> int:
        """Let the process deliver an event soon."""
        packed = codec.pack(self._signature, event)
        if len(packed) > MAX_BYTES and isinstance(event, Logged):
            await self._ask(CHECK, {"room": event.room})
        else:
            self._add(room_of(event), packed)
        return 0

    async def revoke(self, revoked: Revoked) -> None:
        """Let the process end sessions soon."""
        self._add(None, codec.pack_revoked(self._signature, revoked))

    async def close(self) -> None:
        """Pass on what waits."""
        self._is_closing = True
        self._more.set()
        if self._passing is not None:
            await self._passing

    def _add(self, room: str | None, packed: bytes) -> None:
        self._events.append((room, packed))
        self._more.set()

    async def _pass_on(self) -> None:
        while self._events or not self._is_closing:
            await self._more.wait()
            if not self._is_closing:
                self._more.clear()
            while self._events:
                await self._ask(PUBLISH, {"messages": self._some()})

    def _some(self) -> list[tuple[str | None, str]]:
        """Take the next events, as many as one question may have."""
        some: list[tuple[str | None, str]] = []
        size = 0
        while self._events and (not some or size + len(self._events[0][1]) <= MAX_BYTES):
            room, packed = self._events.popleft()
            some.append((room, packed.decode()))
            size += len(packed) + 100
        return some

    async def _ask(self, question: str, data: dict[str, Any]) -> None:
        try:
            await ask(self._socket, question, data, timeout=SECONDS)
        except LocalUnavailable as error:
            # Its clients find the truth in the store when they come back.
            logger.warning("the gateway of this data folder does not take events: %s", error)
