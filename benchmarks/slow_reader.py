"""What it is to others that one of those who hear a room stops reading, and what it is to the gateway's memory.

People talk at a pace. First everybody reads; then one does not, until the gateway gives it up; what the others are
given meanwhile is held against what they were given before. A time is from when something was said until it was heard,
over all who hear it.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
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
    readers = [Reader(times) for _ in range(max(1, sizes.listening - 2))]
    talker, one = Client(), NonReader()
    everybody = await visit.open([*readers, talker, one], ROOM)
    await asyncio.sleep(SETTLING_SECONDS)
    for client in everybody:
        client.listen()
    memory = Memory(visit.pid)

    pace = Pace(sizes.steady, lambda number: times.say(talker, number))
    await memory.watch(pace.run(sizes.lasting))
    await _all_heard(times, pace.done * len(readers))
    all_read = 1000 * percentile(times.taken, 99), float(memory.gained)

    times.taken.clear()
    log = Log(visit.folder / "gateway.log")
    one.stop_reading()
    pace = Pace(sizes.steady, lambda number: times.say(talker, number))
    talking = asyncio.create_task(pace.run(GIVEN_UP_SECONDS))
    await memory.watch(log.says(GIVEN_UP, lambda: not talking.done()))
    talking.cancel()
    one.read_on()  # within a second the gateway's last words are still to be had
    async with asyncio.timeout(HEARD_SECONDS):
        await one.lost.wait()
    await _all_heard(times, pace.done * len(readers))
    figures = {
        P99: {visit.name: 1000 * percentile(times.taken, 99), ALL_READ: all_read[0]},
        MEMORY: {visit.name: float(memory.gained), ALL_READ: all_read[1], OUTBOX: OUTBOX_KB},
        OWED: {visit.name: float(pace.done)},
    }
    if one.code is not None:  # else it was cut: this machine let it read on too late
        figures[CLOSE_CODE] = {visit.name: float(one.code)}
    return figures


class Memory:
    """What a process holds, watched for its most."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.gained = 0
        """The most that it held while it was watched, over what it held when that began, in KB."""

    async def watch(self, waiting: Coroutine[None, None, None]) -> None:
        """Watch it until something has been done."""
        before = memory_kb(self._pid)
        self.gained = 0
        task = asyncio.create_task(waiting)
        while not task.done():
            await asyncio.wait([task], timeout=WATCH_SECONDS)
            self.gained = max(self.gained, memory_kb(self._pid) - before)
        task.result()


class Log:
    """What a server writes into its log from now on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._start = file.stat().st_size

    async def says(self, words: str, lives: Callable[[], bool]) -> None:
        """Wait until it does, as long as it may."""
        while words.encode() not in self._file.read_bytes()[self._start :]:
            if not lives():
                raise RuntimeError(f"the one who does not read was not given up within {GIVEN_UP_SECONDS} s")
            await asyncio.sleep(WATCH_SECONDS)


async def _all_heard(times: Times, count: int) -> None:
    async with asyncio.timeout(HEARD_SECONDS):
        while len(times.taken) < count:  # noqa: ASYNC110 - an event would cost each delivery
            await asyncio.sleep(0.02)
    if len(times.taken) > count:
        raise RuntimeError("more was heard than was said")
