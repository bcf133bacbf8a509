"""A server of bytes, which leaves no connection behind, and what a proxy is made of."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from tests.support.waiting import until

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handle: Handle, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a port of this machine, and yield the port. At the end, each connection is closed."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            with suppress(OSError, EOFError):  # the client may go at any moment
                await handle(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            writers.discard(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
    for writer in tuple(writers):
        writer.transport.abort()
    await until(lambda: not writers)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until one end is gone, and then close the other."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def pass_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    to_reader: asyncio.StreamReader,
    to_writer: asyncio.StreamWriter,
) -> None:
    """Pass bytes on in both directions until both ends are gone. What is open then is closed without a further word."""
    try:
        await asyncio.gather(pipe(reader, to_writer), pipe(to_reader, writer))
    finally:
        to_writer.transport.abort()
