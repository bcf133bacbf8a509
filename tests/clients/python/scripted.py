"""A gateway of the test's own, which does what the real one never does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway_client import Gateway, Times, connect

WAIT_SECONDS = 20
Frame = dict[str, Any]

HASTY = replace(Times().scaled(0.02), heartbeat=25)
"""Waits that end at once: 20 ms before the first attempt to come back, 100 ms for a ping."""

WELCOME: Frame = {
    "connection": "c1",
    "user": "alice",
    "scopes": ["chat:read"],
    "server_time": "2026-11-20T23:20:08.785Z",
    "token_expires_at": "2026-11-20T23:35:08.000Z",
    "heartbeat_seconds": 25.0,
    "max_message_bytes": 65536,
    "protocol": 1,
}


class Visit:
    """One connection of the client."""

    def __init__(self, ws: ServerConnection, number: int) -> None:
        self.ws = ws
        self.number = number
        assert ws.request is not None
        self.token = ws.request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.path = ws.request.path

    async def send(self, type: str, /, **frame: Any) -> None:
        """Send a frame."""
        await self.say(json.dumps({"type": type, **frame}))

    async def say(self, text: str | bytes) -> None:
        """Send anything."""
        await self.ws.send(text)

    async def welcome(self, **data: Any) -> None:
        """Accept the client."""
        await self.send("welcome", data=WELCOME | data)

    async def next(self) -> Frame:
        """Return the next message of the client."""
        async with asyncio.timeout(WAIT_SECONDS):
            frame: Frame = json.loads(await self.ws.recv())
            return frame

    async def expect(self, type: str) -> Frame:
        """Return the next message, which must have this type."""
        frame = await self.next()
        assert frame["type"] == type, frame
        return frame

    async def reply(self, message: Frame, data: Any = None, /) -> None:
        """Answer a message."""
        await self.send("reply", id=message["id"], status=20000, data={} if data is None else data)

    async def refuse(self, message: Frame, status: object, /, **parts: Any) -> None:
        """Answer a message with an error."""
        error = {"status": status, "name": "x", "message": f"refused with {status}", "retryable": False}
        await self.send("error", id=message["id"], **error | parts)

    async def bye(self, code: int, reason: str, reconnect: str, **parts: Any) -> None:
        """Close as the gateway does."""
        await self.send("bye", data={"code": code, "reason": reason, "reconnect": reconnect, **parts})
        await self.ws.close(code, reason)

    def drop(self) -> None:
        """Cut the connection off."""
        self.ws.transport.abort()

    async def serve(self) -> None:
        """Answer each message with its own data, until the client leaves."""
        with suppress(ConnectionClosed):
            async for text in self.ws:
                frame = json.loads(text)
                await self.reply(frame, frame["data"])


Script = Callable[[Visit], Awaitable[None]]


class Scripted:
    """The server. Each connection runs the script; a script that fails fails the test."""

    def __init__(self, script: Script) -> None:
        self.visits: list[Visit] = []
        self.faults: list[BaseException] = []
        self.server: Server
        self._script = script

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}"

    async def talk(self, ws: ServerConnection) -> None:
        """Serve one connection."""
        visit = Visit(ws, len(self.visits) + 1)
        self.visits.append(visit)
        try:
            await self._script(visit)
        except ConnectionClosed:
            pass
        except Exception as fault:
            self.faults.append(fault)
            raise


@asynccontextmanager
async def scripted(script: Script, **options: Any) -> AsyncIterator[Scripted]:
    """Run a server with a script for each connection."""
    running = Scripted(script)
    async with asyncio.timeout(WAIT_SECONDS):
        async with serve(running.talk, "127.0.0.1", 0, compression=None, **options) as running.server:
            yield running
    assert running.faults == []


def client_of(running: Scripted, **options: Any) -> Gateway:
    """Return a client of the server, which hurries."""
    chosen: dict[str, Any] = {"token": "token-1", "times": HASTY} | options
    return connect(running.url, **chosen)
