"""The idle clients, in a process of their own: they connect, join a room, and wait."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from picows import WSTransport

from benchmarks.client import Client
from benchmarks.dialects import OPENING
from proofs.child import serve
from proofs.process import raise_limit_of_files

ANSWER_SECONDS = 60
SPARE_SECONDS = 0.05


class Idler(Client):
    """A client that waits, and notes that its connection is lost."""

    def __init__(self, token: str, room: str) -> None:
        super().__init__()
        self.token = token
        self.room = room
        self.answered = False
        self.heard = 0
        self.lost = False

    async def come(self, port: int) -> None:
        """Connect and join."""
        url = f"ws://127.0.0.1:{port}/ws/chat?token={self.token}"
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.gather(self.wait_for(b'{"type":"welcome"'), self.connect(url))
            self.send(b'{"type":"room.join","id":1,"data":{"room":"%b","limit":0}}' % self.room.encode())
            await self.wait_for(b'{"type":"reply","id":1,"status":20000')
        self.listen()

    def take(self, text: bytes) -> None:
        """Note the answer, and each message."""
        if text.startswith(b'{"type":"reply","id":2,"status":20000'):
            self.answered = True
        elif text.startswith(b'{"type":"chat.message"'):
            self.heard += 1

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the loss."""
        super().on_ws_disconnected(transport)
        self.lost = True


async def _begin(orders: dict[str, Any]) -> Callable[[str], Awaitable[object]]:
    raise_limit_of_files()
    clients = [Idler(token, room) for token, room in orders["clients"]]
    for start in range(0, len(clients), OPENING):
        await asyncio.gather(*(client.come(orders["port"]) for client in clients[start : start + OPENING]))

    async def end(_line: str) -> object:
        lost = sum(client.lost for client in clients)
        here = [client for client in clients if not client.lost]
        first: dict[str, Idler] = {}
        for client in here:
            first.setdefault(client.room, client)
        for number, client in enumerate(here):
            client.send(b'{"type":"ping","id":2}')
            if first[client.room] is client:
                client.send(b'{"type":"chat.send","data":{"room":"%b","text":"Still here?"}}' % client.room.encode())
            if number % OPENING == 0:
                await asyncio.sleep(SPARE_SECONDS)
        await _until(lambda: all(client.answered and client.heard for client in here))
        return {"lost": lost, "silent": sum(not (client.answered and client.heard) for client in here)}

    return end


async def _until(done: Callable[[], bool]) -> None:
    for _ in range(round(ANSWER_SECONDS / SPARE_SECONDS)):
        if done():
            return
        await asyncio.sleep(SPARE_SECONDS)


if __name__ == "__main__":
    uvloop.run(serve(_begin))
