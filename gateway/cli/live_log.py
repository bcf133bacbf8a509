"""The log of rooms for a command that changes them while gateways run, and the bus by which these learn of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.bus.base import Bus, BusEvent, Revoked
from gateway.bus.build import make_bus
from gateway.bus.memory import MemoryBus
from gateway.bus.outside import OutsideBus
from gateway.config.bus_url import MEMORY
from gateway.config.settings import Settings
from gateway.core.clock import SystemClock
from gateway.core.local_socket import sockets_in
from gateway.core.start_error import StartError
from gateway.rooms.events import ended_event
from gateway.rooms.log import Log
from gateway.store.engine import Database
from gateway.store.rooms import RoomRow

MAX_WAITING = 10_000


@dataclass(frozen=True)
class LiveLog:
    """What changes rooms, and what nodes hear of."""

    log: Log
    bus: Bus

    async def end_room(self, room: RoomRow) -> None:
        """Let the listeners of a room that was deleted know of it."""
        await self.bus.publish(ended_event(room.name, room.epoch))


@asynccontextmanager
async def live_log(database: Database, settings: Settings) -> AsyncIterator[LiveLog]:
    """Write to rooms while the context lasts. Running gateways deliver the events, as of changes of their own."""
    bus = _bus(settings)
    try:
        await bus.start(_hear, _hear_revoked, _hear_missed)
        async with Log(database, bus, SystemClock(), MAX_WAITING).running() as log:
            yield LiveLog(log, bus)
    finally:
        await bus.close()


def _bus(settings: Settings) -> Bus:
    if settings.bus_url != MEMORY:
        return make_bus(settings)
    try:
        sockets = sockets_in(settings.data_dir)
    except PermissionError:
        raise StartError(
            f"cannot look for the gateway that serves from {settings.data_dir}; run this as the gateway's user"
        ) from None
    return OutsideBus(sockets[0]) if sockets else MemoryBus()


def _hear(_event: BusEvent) -> int:
    return 0


def _hear_revoked(_revoked: Revoked) -> None:
    """Do nothing: a command has no connections."""


def _hear_missed(_room: str | None) -> None:
    """Do nothing: a command hears no room."""
