"""How the load speaks with a server: into a conversation, and what is said there.

The messages are the same for all, those of the gateway. A peer that sends back what it got takes them as they are; over
Socket.IO they are the one argument of its events.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from benchmarks.client import Client

ECHO = "/echo"
ROOM = "/room"
"""The two places of a server: where everything is said back, and where everything is said to all."""

ROOM_NAME = "everyone"

OPENING = 50
"""How many connections are opened at a time."""


class Dialect(Protocol):
    """How one server is spoken to."""

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect, up to the welcome, and for the room into it. The number says who it is, where there are people."""

    def echo(self, number: int, message: bytes) -> bytes:
        """Give the text that asks for a message to be said back."""

    def say(self, message: bytes) -> bytes:
        """Give the text that says a message to all."""


async def enter_all(dialect: Dialect, clients: Sequence[Client], place: str) -> None:
    """Connect all of them, some at a time, each as somebody else."""
    for start in range(0, len(clients), OPENING):
        some = enumerate(clients[start : start + OPENING], start)
        await asyncio.gather(*(dialect.enter(client, place, number) for number, client in some))


class Plain:
    """Messages as they are, to a server that knows nobody."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect."""
        await client.connect(self._address + place)

    def echo(self, number: int, message: bytes) -> bytes:
        """Give the message."""
        return message

    def say(self, message: bytes) -> bytes:
        """Give the message."""
        return message


class Authenticated(Plain):
    """The gateway's own: a token, a welcome, and rooms that one joins."""

    def __init__(self, port: int, tokens: list[str]) -> None:
        super().__init__(f"ws://127.0.0.1:{port}")
        self.port = port
        self.tokens = tokens

    async def enter(self, client: Client, place: str, number: int) -> None:
        """Connect with a token, up to the welcome, and join the room."""
        welcomed = asyncio.ensure_future(client.wait_for(b'{"type":"welcome"'))
        await asyncio.sleep(0)
        await client.connect(f"{self._address}/ws/chat?token={self.tokens[number % len(self.tokens)]}")
        await welcomed
        if place == ROOM:
            client.send(b'{"type":"room.join","id":1,"data":{"room":"%b"}}' % ROOM_NAME.encode())
            await client.wait_for(b'{"type":"reply","id":1,"status":20000')


class SocketIO(Plain):
    """Socket.IO 5 over Engine.IO 4, over a WebSocket from the start.

    Of Engine.IO, 0 opens and 4 is a message; of Socket.IO within it, 0 connects, 2 is an event and 3 acknowledges one.
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
        """Make it an event to be acknowledged."""
        return b'42%d["echo",%b]' % (number, message)

    def say(self, message: bytes) -> bytes:
        """Make it an event."""
        return b'42["say",%b]' % message
