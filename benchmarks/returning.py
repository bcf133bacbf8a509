"""Clients that come back all at once, in their own process, so that the measuring process stays quick.

It reads its orders from standard input, a line each. The first one, in JSON, describes the clients (`Returning` sends
it). `come` lets all of them connect and join their rooms, `vanish` cuts all their connections. The answer to each is
one line.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import uvloop
from picows import ws_connect

from benchmarks.child import Child
from benchmarks.pace import percentile
from benchmarks.rig import Asker, Frame

ANSWER_SECONDS = 600
HANDSHAKE_SECONDS = 10
"""The patience of many client libraries: seconds for the answer to a handshake."""
RETRY_SECONDS = 1
"""The pause of a client that does not know when to come back."""


@dataclass(frozen=True)
class Storm:
    """What a storm was for its clients."""

    seconds: float
    """From the first connect until the last join."""
    p50: float
    """Seconds until half of the clients were back."""
    refusals: dict[str, int]
    """Handshakes and joins without success that were tried again, by kind."""


class Returning(Child):
    """The clients, as the measuring process sees them: `async with`, then `come` and `vanish` by turns."""

    def __init__(self, port: int, tokens: Sequence[str], rooms: Sequence[str], *, one_by_one: bool) -> None:
        """Let each client join its rooms `one_by_one`, with a message each, or all of them with one message."""
        orders = {"port": port, "tokens": tokens, "rooms": rooms, "one_by_one": one_by_one}
        super().__init__(__name__, orders, ANSWER_SECONDS)

    async def come(self) -> Storm:
        """Let all connect and join at once, and again until all are in their rooms."""
        return Storm(**await self.ask("come"))

    async def vanish(self) -> None:
        """Cut all connections at once, without a close frame."""
        await self.ask("vanish")


class _Connection(Asker):
    """A connection that remembers the last words of the server."""

    def __init__(self) -> None:
        super().__init__()
        self.bye: Frame = {}

    def take(self, message: Frame) -> None:
        """Keep the `bye`."""
        if message["type"] == "bye":
            self.bye = message["data"]

    async def open(self, url: str) -> None:
        """Connect up to the welcome, or raise `OSError`."""
        opened = await ws_connect(lambda: self, url, websocket_handshake_timeout=HANDSHAKE_SECONDS)
        if opened[1] is not self:
            raise ConnectionError("the connection was lost")
        await self.welcomed

    def cut(self) -> None:
        """End without a close frame."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


class _Clients:
    def __init__(self, orders: dict[str, Any]) -> None:
        self._urls = [f"ws://127.0.0.1:{orders['port']}/ws/chat?token={token}" for token in orders["tokens"]]
        self._rooms: list[str] = orders["rooms"]
        self._one_by_one: bool = orders["one_by_one"]
        self._here: list[_Connection] = []
        self._refusals: Counter[str] = Counter()

    async def come(self) -> Storm:
        self._refusals.clear()
        began = time.perf_counter()
        self._here, times = [], []

        async def come_back(url: str) -> None:
            one = await self._connect(url)
            self._here.append(one)
            if self._one_by_one:
                await asyncio.gather(*(self._join(one, room) for room in self._rooms))
            else:
                await self._resume(one)
            times.append(time.perf_counter() - began)

        await asyncio.gather(*map(come_back, self._urls))
        return Storm(max(times), percentile(times, 50), dict(self._refusals))

    async def vanish(self) -> None:
        for one in self._here:
            one.cut()
        await asyncio.gather(*(one.lost.wait() for one in self._here))

    async def _connect(self, url: str) -> _Connection:
        while True:
            one = _Connection()
            try:
                await one.open(url)
            except (OSError, TimeoutError) as error:
                self._refusals[f"bye {one.bye['code']}" if one.bye else type(error).__name__] += 1
                await asyncio.sleep(one.bye.get("after_ms", RETRY_SECONDS * 1000) / 1000)
            else:
                return one

    async def _join(self, one: _Connection, room: str) -> None:
        await self._ask(one, "room.join", room=room)

    async def _resume(self, one: _Connection) -> None:
        wanted = list(self._rooms)
        while wanted:
            found = await self._ask(one, "room.resume", rooms=[{"room": room} for room in wanted])
            for each in found["rooms"]:
                if "error" not in each:
                    wanted.remove(each["room"])
                elif not each["error"].get("retryable"):
                    raise RuntimeError(f"expected a reply, got {each}")
                else:
                    self._refusals[each["error"]["name"]] += 1

    async def _ask(self, one: _Connection, type: str, **data: Any) -> Frame:
        """Ask, and again as long as the server asks for that, and return the data of the reply."""
        while (reply := await one.ask(type, **data)).get("retryable"):
            self._refusals[reply["name"]] += 1
            await asyncio.sleep(reply.get("retry_after_ms", RETRY_SECONDS * 1000) / 1000)
        if reply["type"] != "reply":
            raise RuntimeError(f"expected a reply, got {reply}")
        found: Frame = reply["data"]
        return found


async def _serve() -> None:
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)  # one line has the tokens of all users
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    clients = _Clients(json.loads(await lines.readline()))
    print("{}", flush=True)
    while line := await lines.readline():
        if line == b"come\n":
            print(json.dumps(asdict(await clients.come())), flush=True)
        else:
            await clients.vanish()
            print("{}", flush=True)


if __name__ == "__main__":
    uvloop.run(_serve())
