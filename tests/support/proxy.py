"""A network between a node and its server, which can be slow, swallow everything, or require TLS."""

import asyncio
import re
import ssl
from contextlib import suppress
from typing import Self

_SEGMENTS = re.compile(rb".+?(?:\r\n\r\n|\Z)", re.DOTALL)


class Proxy:
    """Pass bytes to a server of this machine and back, `delay` seconds late, or not at all while it swallows.

    With `cuts`, what comes after an empty line goes to the server in a segment of its own, so many seconds later.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, *, cuts: float = 0) -> None:
        self._to = port
        self._cuts = cuts
        self.asked = b""
        """The bytes that the server received."""
        self.opened = 0
        """How many connections the node has opened."""
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay = 0.0
        self.swallows = False

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def drop(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.opened += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except BaseException:  # the gateway is gone, or it is the test's end
            writer.transport.abort()
            raise
        try:
            with suppress(OSError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._ask(reader, server_writer))
                    group.create_task(self._pass_on(server_reader, writer))
        except* OSError:
            pass  # one of the two is gone
        except* asyncio.CancelledError:
            pass  # at the test's end
        finally:
            for end in (writer, server_writer):
                end.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._cuts:
            await self._pass_on(reader, writer)
        while data := await reader.read(65536):
            self.asked += data
            for part in _SEGMENTS.findall(data):
                writer.write(part)
                await asyncio.sleep(self._cuts)
        raise ConnectionResetError

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.swallows:
                asyncio.get_running_loop().call_later(self.delay, writer.write, data)
        raise ConnectionResetError
