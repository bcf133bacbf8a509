"""A crowd of users in its own process, so that the measuring process need not read all of their events.

It reads its orders from standard input, a line of JSON each. The first describes the users (`Crowd` sends it). The
next ones, by turns, start a load and stop it. The crowd answers each line with one line, and a stop with its counts.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

import uvloop

from benchmarks.child import Child
from benchmarks.dialects import ROOM, enter_all
from benchmarks.pace import Pace
from benchmarks.room_dialects import Authenticated
from benchmarks.talk import Listening, Talk

SETTLING_SECONDS = 0.5
"""Seconds for the presence events of new connections."""

ANSWER_SECONDS = 60
FOREVER = 3600.0
POLITENESS = 10
"""The crowd yields to the measuring process and the server, as if it had its own machine."""

TALKERS = 10


@dataclass(frozen=True)
class Load:
    """The actions of a crowd, in times a second."""

    messages: int
    log_ins: int


@dataclass(frozen=True)
class Done:
    """The finished actions of a crowd."""

    said: int
    heard: int
    welcome: int
    """Log-ins that got a token."""
    refused: int
    """Log-ins that got 503, because the machine cannot hash so many."""


class Crowd(Child):
    """The crowd, as the measuring process sees it: `async with`, then `begin` and `rest` by turns."""

    def __init__(self, port: int, tokens: Sequence[str], size: int, name: str, password: str) -> None:
        orders = {"port": port, "tokens": list(tokens), "size": size, "name": name, "password": password}
        super().__init__(__name__, orders, 2 * ANSWER_SECONDS)

    async def begin(self, load: Load) -> None:
        """Make a load."""
        await self.ask(json.dumps(asdict(load)))

    async def rest(self) -> Done:
        """Stop the load, once all messages have arrived and every log-in has its answer."""
        return Done(**await self.ask("null"))


class People:
    """The users of the crowd, in its own process."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._port: int = orders["port"]
        self._form = urlencode({"username": orders["name"], "password": orders["password"]}).encode()
        self._dialect = Authenticated(self._port, orders["tokens"])
        self._talk = Talk(orders["size"])
        self._listening = [Listening(self._dialect, self._talk, number) for number in range(orders["size"])]
        self._asking: list[asyncio.Task[None]] = []
        self._statuses: Counter[int] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self) -> None:
        """Connect, and join the room."""
        await enter_all(self._dialect, self._listening, ROOM)
        await asyncio.sleep(SETTLING_SECONDS)
        for person in self._listening:
            person.listen()

    def begin(self, load: Load) -> None:
        """Make a load."""
        self._talk.said = self._talk.heard = 0
        self._talk.stopped = False
        self._statuses.clear()
        self._asking.clear()
        wanted = ((load.messages, self._say), (load.log_ins, self._log_in))
        self._tasks = [asyncio.create_task(Pace(rate, act).run(FOREVER)) for rate, act in wanted if rate]

    async def rest(self) -> Done:
        """Stop the load, and return the counts."""
        for task in self._tasks:
            if task.done():
                task.result()
            task.cancel()
        self._talk.stopped = True
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.gather(*self._asking)
        await self._all_heard()
        if unexpected := self._statuses.keys() - {200, 503}:
            raise RuntimeError(f"log-ins were answered with {sorted(unexpected)}")
        return Done(self._talk.said, self._talk.heard, self._statuses[200], self._statuses[503])

    async def _all_heard(self) -> None:
        talk = self._talk
        until = time.monotonic() + ANSWER_SECONDS
        while talk.heard < talk.said * talk.size:
            if time.monotonic() > until:
                raise RuntimeError(f"{talk.said * talk.size:,} should have been heard, and {talk.heard:,} were")
            await asyncio.sleep(0.05)

    def _say(self, number: int) -> None:
        self._listening[number % min(TALKERS, len(self._listening))].say()

    def _log_in(self, number: int) -> None:
        self._asking.append(asyncio.create_task(self._ask_for_token()))

    async def _ask_for_token(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (
            f"POST /token HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(self._form)}\r\n\r\n"
        )
        writer.write(head.encode() + self._form)
        answer = await reader.read()
        writer.close()
        self._statuses[int(answer.split(b" ", 2)[1])] += 1


def _give_way() -> None:
    """Run only while no other process wants the core, or after all others if the system lacks that."""
    os.nice(POLITENESS)
    if sys.platform == "linux":
        with suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


async def _serve() -> None:
    _give_way()
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)  # one line has the tokens of all users
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    people = People(json.loads(await lines.readline()))
    await people.come()
    print("{}", flush=True)
    while line := await lines.readline():
        load = json.loads(line)
        if load is None:
            print(json.dumps(asdict(await people.rest())), flush=True)
        else:
            people.begin(Load(**load))
            print("{}", flush=True)


if __name__ == "__main__":
    uvloop.run(_serve())
