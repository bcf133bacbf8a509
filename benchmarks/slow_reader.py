"""What it is to others that one of those who hear a room stops reading, and what it is to the gateway's memory.

Some talk at a pace. First everybody reads; then one does not, until the gateway gives it up; what the others are
given meanwhile is held against what they were given before. A time is from when something was said until it was heard,
over all who hear it.
"""

import asyncio
import socket
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from picows.url import WSParsedURL

from benchmarks.client import Client
from benchmarks.dialects import ROOM
from benchmarks.pace import Pace, percentile
from benchmarks.rig import memory_kb
from benchmarks.talk import room_message
from benchmarks.visit import Figures, Sizes, Visit
from gateway.settings import Settings

SETTLING_SECONDS = 1.0
HEARD_SECONDS = 60
WATCH_SECONDS = 0.05
FOREVER = 3600.0
TALKERS = 10
"""More than one: a message waits for the one before it on its connection, and that one for the disk."""

GIVEN_UP_SECONDS = 60
"""The most that the gateway may take to give the one up who does not read."""

GIVEN_UP = "closing a slow consumer"
"""What it writes into its log then."""

ETHERNET_SEGMENT = 1448
RECEIVE_BUFFER = 16 * 1024

TEXT = b"The quick brown fox jumps over the lazy dog. " * 85
"""Long enough that an outbox fills within seconds, and hardly shorter than a message may be."""

P99 = "ms p99 of a delivery, while one does not read"
ALL_READ = "all read"
MEMORY = "KB of RSS gained, while one does not read"
OUTBOX = "limit of an outbox"
OWED = "messages said, until the one was given up"
CLOSE_CODE = "close code of the one"

OUTBOX_KB = Settings.model_fields["outbox_bytes"].default / 1024


class Times:
    """How long deliveries took, in seconds."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def say(self, talker: Client, number: int) -> None:
        """Say when it is."""
        talker.send(room_message(number, b"%d %b" % (time.perf_counter_ns(), TEXT)))

    def hear(self, text: bytes) -> None:
        """Note how long ago that was."""
        start = text.index(b'"text":"') + len(b'"text":"')
        self.taken.append((time.perf_counter_ns() - int(text[start : text.index(b" ", start)])) / 1e9)


class Reader(Client):
    """One who hears the room."""

    def __init__(self, times: Times) -> None:
        super().__init__()
        self._times = times

    def take(self, text: bytes) -> None:
        """Note a delivery."""
        if text.startswith(b'{"type":"chat.message"'):
            self._times.hear(text)


class NonReader(Client):
    """One who hears the room, and stops to read.

    Its connection is as over Ethernet: on the loopback interface, segments of 64 KB make the kernel alone keep
    megabytes, and the outbox would hardly be needed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.code: int | None = None
        self.lost = asyncio.Event()

    def make_socket(self, url: WSParsedURL) -> socket.socket:
        """Make a socket that keeps little."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, ETHERNET_SEGMENT)
        sock.setblocking(False)
        return sock

    def stop_reading(self) -> None:
        """Read no more."""
        self._underlying().pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self._underlying().resume_reading()

    def closed(self, code: int) -> None:
        """Take the code with which the gateway closes."""
        self.code = code

    def on_ws_disconnected(self, transport: object) -> None:
        """End."""
        self.lost.set()

    def _underlying(self) -> asyncio.Transport:
        assert self._transport is not None  # noqa: S101 - connected
        return self._transport.underlying_transport


async def slow_reader(visit: Visit, sizes: Sizes) -> Figures:
    """Measure deliveries while everybody reads, and then while one does not."""
    times = Times()
    readers = [Reader(times) for _ in range(max(1, sizes.listening - TALKERS - 1))]
    talkers, one = [Client() for _ in range(TALKERS)], NonReader()
    everybody = await visit.open([*readers, *talkers, one], ROOM)
    await asyncio.sleep(SETTLING_SECONDS)
    for client in everybody:
        client.listen()
    memory = Memory(visit.pid)
    room = Room(talkers, times, len(readers), sizes.steady)
    await room.talk_until(asyncio.sleep(sizes.seconds))  # to warm up

    all_read, gained = await memory.watch(room.talk_until(asyncio.sleep(sizes.lasting)))
    log = Log(visit.folder / "gateway.log")
    one.stop_reading()
    unread, gained_unread = await memory.watch(room.talk_until(_given_up(one, log)))
    async with asyncio.timeout(HEARD_SECONDS):
        await one.lost.wait()

    figures = {
        P99: {visit.name: unread.p99, ALL_READ: all_read.p99},
        MEMORY: {visit.name: float(gained_unread), ALL_READ: float(gained), OUTBOX: OUTBOX_KB},
        OWED: {visit.name: float(unread.said)},
    }
    if one.code is not None:  # else it was cut: this machine let it read on too late
        figures[CLOSE_CODE] = {visit.name: float(one.code)}
    return figures


async def _given_up(one: NonReader, log: "Log") -> None:
    """Wait until the one is given up, and have it read on: for a second the gateway's last words are to be had."""
    try:
        async with asyncio.timeout(GIVEN_UP_SECONDS):
            await log.says(GIVEN_UP)
    except TimeoutError:
        raise RuntimeError(f"the one who does not read was not given up within {GIVEN_UP_SECONDS} s") from None
    one.read_on()


@dataclass(frozen=True)
class Heard:
    """What was said for a while, and how long deliveries took: a p99, in milliseconds."""

    said: int
    p99: float


class Room:
    """Some talk in turns, and others hear them."""

    def __init__(self, talkers: Sequence[Client], times: Times, readers: int, per_second: int) -> None:
        self._talkers = talkers
        self._times = times
        self._readers = readers
        self._per_second = per_second

    async def talk_until(self, end: Coroutine[None, None, None]) -> Heard:
        """Talk until that is done, and see that all of it is heard, once."""
        taken = self._times.taken = []
        pace = Pace(self._per_second, self._say)
        talking = asyncio.create_task(pace.run(FOREVER))
        try:
            await end
        finally:
            talking.cancel()
        async with asyncio.timeout(HEARD_SECONDS):
            while len(taken) < pace.done * self._readers:  # noqa: ASYNC110 - an event would cost each delivery
                await asyncio.sleep(0.02)
        if len(taken) > pace.done * self._readers:
            raise RuntimeError("more was heard than was said")
        return Heard(pace.done, 1000 * percentile(taken, 99))

    def _say(self, number: int) -> None:
        self._times.say(self._talkers[number % len(self._talkers)], number)


class Memory:
    """What a process holds, watched for its most."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    async def watch(self, waiting: Coroutine[None, None, Heard]) -> tuple[Heard, int]:
        """Wait for something; gives also the most that was held meanwhile over what was held before, in KB."""
        before = most = memory_kb(self._pid)
        task = asyncio.create_task(waiting)
        while not task.done():
            await asyncio.wait([task], timeout=WATCH_SECONDS)
            most = max(most, memory_kb(self._pid))
        return task.result(), most - before


class Log:
    """What a server writes into its log from now on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._start = file.stat().st_size

    async def says(self, words: str) -> None:
        """Wait until it does."""
        while words.encode() not in self._file.read_bytes()[self._start :]:  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(WATCH_SECONDS)
