"""Builds the bus of the settings: in this process, or through the Redis that all nodes share."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.bus.base import Bus
from gateway.bus.memory import MemoryBus
from gateway.config.bus_url import MEMORY
from gateway.config.settings import Settings
from gateway.core.start_error import StartError


def make_bus(settings: Settings) -> Bus:
    """Return the bus of the settings, or raise `StartError` if its package is not installed."""
    if settings.bus_url == MEMORY:
        return MemoryBus()
    try:
        from gateway.bus.redis import RedisBus
        from gateway.bus.redis_client import connect
    except ImportError:
        raise StartError("GATEWAY_BUS_URL: this needs redis-py; pip install 'json-gateway[redis]'") from None
    return RedisBus(connect(settings), settings, secrets.token_hex(8))


@asynccontextmanager
async def open_bus(settings: Settings) -> AsyncIterator[Bus]:
    """Make the bus, and close it at the end. It starts once a hub can receive its events."""
    bus = make_bus(settings)
    try:
        yield bus
    finally:
        await bus.close()


async def check_bus(settings: Settings) -> None:
    """Check that a required bus is available, or raise `StartError` in one line."""
    async with open_bus(settings) as bus:
        if settings.bus_required:
            await bus.check()
