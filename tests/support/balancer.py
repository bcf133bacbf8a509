"""A proxy before several nodes, as an operator has one: each connection goes to the next node that takes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.raw_server import pass_both, raw_server


@asynccontextmanager
async def balancer(*ports: int) -> AsyncIterator[int]:
    """Pass connections on to these ports of this machine by turns, and yield the port to connect to."""
    turn = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        for place in range(len(ports)):
            with suppress(OSError):
                there = await asyncio.open_connection("127.0.0.1", ports[(turn + place) % len(ports)])
                await pass_both(reader, writer, *there)
                return

    async with raw_server(serve) as port:
        yield port
