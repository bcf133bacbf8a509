"""What a round trip, a delivery and a connection cost a server: its CPU, with all its threads, and its memory."""

import asyncio
import time

from benchmarks.client import Client
from benchmarks.dialects import ECHO, ROOM
from benchmarks.rig import cpu_seconds, memory_kb
from benchmarks.talk import Echoing, Listening, Talk
from benchmarks.visit import WARM_CONNECTIONS, Figures, Sizes, Visit

SETTLING_SECONDS = 0.5
"""For what the gateway tells of those who have come."""

HEARD_SECONDS = 60

ROUND_TRIP = "µs of CPU a round trip"
ONE_AT_A_TIME = "µs of CPU a delivery, one message at a time"
TEN_SENDERS = "µs of CPU a delivery, ten senders"
PER_SECOND = "deliveries a second, ten senders"
CONNECTION = "µs of CPU a connection"
IDLE = "KB of RSS an idle connection"


async def echo(visit: Visit, sizes: Sizes) -> Figures:
    """Measure round trips."""
    clients = await visit.open([Echoing(visit.dialect) for _ in range(sizes.echoing)], ECHO)
    for client in clients:
        client.listen()
        client.say()
    await asyncio.sleep(sizes.seconds / 3)
    before, cpu = sum(client.answers for client in clients), cpu_seconds(visit.pid)
    await asyncio.sleep(sizes.seconds)
    used, answers = cpu_seconds(visit.pid) - cpu, sum(client.answers for client in clients) - before
    for client in clients:
        client.stopped = True
    if min(client.answers for client in clients) == 0:
        raise RuntimeError(f"{visit.name} has not answered everybody")
    return {ROUND_TRIP: {visit.name: 1e6 * used / answers}}


async def delivery(visit: Visit, sizes: Sizes) -> Figures:
    """Measure what goes to everyone in a room, one message at a time and by ten at once."""
    one = Talk(sizes.listening)
    clients = await visit.open([Listening(visit.dialect, one, number) for number in range(sizes.listening)], ROOM)
    await asyncio.sleep(SETTLING_SECONDS)
    for client in clients:
        client.listen()
    one.on_all_heard = clients[0].say
    clients[0].say()
    alone, _ = await _overhear(visit, one, sizes.seconds)
    await _all_heard(one)
    one.stopped, one.on_all_heard = False, lambda: None
    for client in clients[:10]:
        client.keep_talking()
    together, per_second = await _overhear(visit, one, sizes.seconds)
    await _all_heard(one)
    return {
        ONE_AT_A_TIME: {visit.name: alone},
        TEN_SENDERS: {visit.name: together},
        PER_SECOND: {visit.name: per_second},
    }


async def _overhear(visit: Visit, talk: Talk, seconds: float) -> tuple[float, float]:
    """Give the CPU of a delivery in microseconds, and deliveries in a second."""
    await asyncio.sleep(seconds / 3)
    heard, cpu, began = talk.heard, cpu_seconds(visit.pid), time.perf_counter()
    await asyncio.sleep(seconds)
    heard, cpu, took = talk.heard - heard, cpu_seconds(visit.pid) - cpu, time.perf_counter() - began
    if not heard:
        raise RuntimeError(f"nobody hears anything from {visit.name}")
    return 1e6 * cpu / heard, heard / took


async def _all_heard(talk: Talk) -> None:
    """Stop, and see that what was said has been heard by all, once."""
    talk.stopped = True
    if talk.heard < talk.said * talk.size:
        done = asyncio.Event()
        talk.on_all_heard = done.set
        async with asyncio.timeout(HEARD_SECONDS):
            await done.wait()
    if talk.heard != talk.said * talk.size:
        raise RuntimeError("more was heard than was said")


async def connection(visit: Visit, sizes: Sizes) -> Figures:
    """Measure connections, up to and with the welcome; they stay open."""
    warm = min(WARM_CONNECTIONS, sizes.connecting)
    first = await visit.open([Client() for _ in range(warm)], ECHO)
    cpu = cpu_seconds(visit.pid)
    rest = await visit.open([Client() for _ in range(sizes.connecting)], ECHO)
    used = cpu_seconds(visit.pid) - cpu
    assert len(first) + len(rest) == warm + sizes.connecting  # noqa: S101 - held until here, so all are open
    return {CONNECTION: {visit.name: 1e6 * used / sizes.connecting}}


async def idle(visit: Visit, sizes: Sizes) -> Figures:
    """Measure what a connection in a room holds while nothing happens."""
    warm = await visit.open([Client() for _ in range(WARM_CONNECTIONS)], ROOM)
    await asyncio.sleep(2 * SETTLING_SECONDS)
    before = memory_kb(visit.pid)
    rest = await visit.open([Client() for _ in range(sizes.idle)], ROOM)
    await asyncio.sleep(4 * SETTLING_SECONDS)
    held = memory_kb(visit.pid) - before
    assert len(warm) + len(rest) == WARM_CONNECTIONS + sizes.idle  # noqa: S101 - held until here, so all are open
    return {IDLE: {visit.name: held / sizes.idle}}
