"""Measures what a listener that stops reading costs the other listeners and the gateway's memory.

Some users talk at a pace. First all listeners read. Then one stops, until the gateway closes its connection. The
deliveries to the others in that time are compared with those before. A time runs from sending to receiving, over all
listeners.
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
from gateway.config.settings import Settings

SETTLING_SECONDS = 1.0
HEARD_SECONDS = 60
WATCH_SECONDS = 0.05
FOREVER = 3600.0
TALKERS = 10
"""More than one, because a connection's next message waits for the one before, and that one for the disk."""

GIVEN_UP_SECONDS = 60
"""The most seconds until the gateway must close the slow reader."""

GIVEN_UP = "closing a slow consumer"
"""The line that the gateway then logs."""

ETHERNET_SEGMENT = 1448
RECEIVE_BUFFER = 16 * 1024

TEXT = b"The quick brown fox jumps over the lazy dog. " * 85
"""A text so long that an outbox fills within seconds; a message may hardly be longer."""

P99 = "ms p99 of a delivery, while one does not read"
ALL_READ = "all read"
MEMORY = "KB of RSS gained, while one does not read"
OUTBOX = "limit of an outbox"
OWED = "messages said, until the one was given up"
CLOSE_CODE = "close code of the one"

OUTBOX_KB = Settings.model_fields["outbox_bytes"].default / 1024


class Times:
    """The seconds that deliveries took."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def say(self, talker: Client, number: int) -> None:
        """Send a message with the current time."""
        talker.send(room_message(number, b"%d %b" % (time.perf_counter_ns(), TEXT)))

    def hear(self, text: bytes) -> None:
        """Record the time since a message was sent."""
        start = text.index(b'"text":"') + len(b'"text":"')
        self.taken.append((time.perf_counter_ns() - int(text[start : text.index(b" ", start)])) / 1e9)


class Reader(Client):
    """A listener of the room."""

    def __init__(self, times: Times) -> None:
        super().__init__()
        self._times = times

    def take(self, text: bytes) -> None:
        """Record a delivery."""
        if text.startswith(b'{"type":"chat.message"'):
            self._times.hear(text)


class NonReader(Client):
    """A listener of the room that stops reading.

    Its connection is as over Ethernet. On the loopback interface, with segments of 64 KB, the kernel alone would keep
    megabytes, and the outbox would hardly fill.
    """

    def __init__(self) -> None:
        super().__init__()
        self.code: int | None = None
        self.lost = asyncio.Event()

    def make_socket(self, url: WSParsedURL) -> socket.socket:
        """Return a socket with small buffers."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, ETHERNET_SEGMENT)
        sock.setblocking(False)
        return sock

    def stop_reading(self) -> None:
        """Stop reading."""
        self._underlying().pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self._underlying().resume_reading()

    def closed(self, code: int) -> None:
        """Take the code of the gateway's close frame."""
        self.code = code

    def on_ws_disconnected(self, transport: object) -> None:
        """End."""
        self.lost.set()

    def _underlying(self) -> asyncio.Transport:
        assert self._transport is not None  # noqa: S101 - connected
        return self._transport.underlying_transport


async def slow_reader(visit: Visit, sizes: Sizes) -> Figures:
    """Measure deliveries while all listeners read, and then while one does not."""
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
    if one.code is not None:  # None: this machine let it read on too late, and the gateway cut it
        figures[CLOSE_CODE] = {visit.name: float(one.code)}
    return figures


async def _given_up(one: NonReader, log: "Log") -> None:
    """Wait until the gateway closes the slow reader, then let it read: the close frame stays for a second."""
    try:
        async with asyncio.timeout(GIVEN_UP_SECONDS):
            await log.says(GIVEN_UP)
    except TimeoutError:
        raise RuntimeError(f"the gateway did not close the slow reader within {GIVEN_UP_SECONDS} s") from None
    one.read_on()


@dataclass(frozen=True)
class Heard:
    """The messages of a while, and the p99 of their deliveries in milliseconds."""

    said: int
    p99: float


class Room:
    """Some users that talk in turns, and their listeners."""

    def __init__(self, talkers: Sequence[Client], times: Times, readers: int, per_second: int) -> None:
        self._talkers = talkers
        self._times = times
        self._readers = readers
        self._per_second = per_second

    async def talk_until(self, end: Coroutine[None, None, None]) -> Heard:
        """Talk until `end` is done, and check that each listener receives each message once."""
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
    """The memory of a process, and its maximum."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    async def watch(self, waiting: Coroutine[None, None, Heard]) -> tuple[Heard, int]:
        """Await something; return its result, and the most KB that the process gained meanwhile."""
        before = most = memory_kb(self._pid)
        task = asyncio.create_task(waiting)
        while not task.done():
            await asyncio.wait([task], timeout=WATCH_SECONDS)
            most = max(most, memory_kb(self._pid))
        return task.result(), most - before


class Log:
    """The lines that a server logs from now on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._start = file.stat().st_size

    async def says(self, words: str) -> None:
        """Wait until the log contains these words."""
        while words.encode() not in self._file.read_bytes()[self._start :]:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(WATCH_SECONDS)
