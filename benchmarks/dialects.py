"""How the load talks to each server: the connect, and the messages.

All servers get the gateway's messages. A peer that sends back what it got takes them unchanged. Over Socket.IO, a
message is the one argument of an event.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from benchmarks.client import Client

ECHO = "/echo"
ROOM = "/room"
"""The two paths of a server: one echoes each message, the other sends it to all."""

ROOM_NAME = "everyone"
"""The room of the path `/room`; servers with more rooms have the paths `/room/NAME` too."""

OPENING = 50
"""Connections that the load opens at a time."""


class Dialect(Protocol):
    """How the load talks to one server."""

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect up to the welcome, and join a place that is a room. `number` chooses the user, if there are any."""

    def echo(self, number: int, message: bytes) -> bytes:
        """Return the text that asks for an echo of a message."""

    def say(self, message: bytes, room: str = ROOM_NAME) -> bytes:
        """Return the text that sends a message to all of a room."""


def room_of(place: str) -> str | None:
    """Return the room's name in a path, or None for the echo."""
    if place == ECHO:
        return None
    return place.removeprefix(ROOM).removeprefix("/") or ROOM_NAME


async def enter_all(dialect: Dialect, clients: Sequence[Client], place: str, first: int = 0) -> None:
    """Connect all clients, some at a time, each as another user from the number `first` on."""
    for start in range(0, len(clients), OPENING):
        some = enumerate(clients[start : start + OPENING], first + start)
        await asyncio.gather(*(dialect.enter(client, place, number) for number, client in some))


class Plain:
    """Unchanged messages to a server without users."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._address = f"ws://127.0.0.1:{port}"

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect."""
        await client.connect(self._address + place)

    def echo(self, number: int, message: bytes) -> bytes:
        """Return the message."""
        return message

    def say(self, message: bytes, room: str = ROOM_NAME) -> bytes:
        """Return the message."""
        return message


class SocketIO(Plain):
    """Socket.IO 5 over Engine.IO 4, over a WebSocket from the start.

    In Engine.IO, 0 opens and 4 is a message. In Socket.IO within it, 0 connects, 2 is an event and 3 acknowledges one.
    """

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect, up to the session's id, and join the room."""
        opened = asyncio.ensure_future(client.wait_for(b"0"))
        await asyncio.sleep(0)
        await client.connect(f"{self._address}/socket.io/?EIO=4&transport=websocket")
        await opened
        client.send(b"40")
        await client.wait_for(b"40")
        if place == ROOM:
            client.send(b'420["join"]')
            await client.wait_for(b"430")

    def echo(self, number: int, message: bytes) -> bytes:
        """Return an event that asks for an acknowledgement."""
        return b'42%d["echo",%b]' % (number, message)

    def say(self, message: bytes, room: str = ROOM_NAME) -> bytes:
        """Return an event."""
        return b'42["say",%b]' % message
