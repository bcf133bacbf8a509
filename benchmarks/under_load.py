"""Measures round trips while the gateway is busy, next to round trips while it is idle.

Some clients ask by the clock, with or without an answer to the question before. The rest is a crowd in another
process. A time runs from the sending of a message until its answer arrives.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.client import Client
from benchmarks.crowd import Crowd, Load
from benchmarks.dialects import ECHO
from benchmarks.pace import Pace, percentile, woken_first
from benchmarks.room_dialects import Authenticated
from benchmarks.talk import echo_message
from benchmarks.visit import Figures, Sizes, Visit

ANSWER_SECONDS = 60
ASKED_PER_SECOND = 400
ASKING = 20

MESSAGES, LOG_INS = 100, 20
LOADS = {
    f"a room takes {MESSAGES} messages/s": Load(MESSAGES, 0),
    f"{LOG_INS} log-ins/s are hashed": Load(0, LOG_INS),
    "both": Load(MESSAGES, LOG_INS),
}

P99 = "ms p99 of a round trip, while"
UNLOADED = "unloaded"
LATE = "ms p99 by which questions went out late, while"
HEARD = "deliveries a second, while both"
HASHED = f"log-ins a second, of {LOG_INS} tried, while both"
REFUSED = "log-ins a second refused with 503, while both"


@dataclass(frozen=True)
class LogIn:
    """The name and password that the crowd logs in with."""

    name: str
    password: str


class Asking(Client):
    """A client that asks, and records the seconds until each answer."""

    def __init__(self, taken: list[float]) -> None:
        super().__init__()
        self._taken = taken
        self._sent: deque[float] = deque()

    @property
    def answered(self) -> bool:
        """Return whether all questions have an answer."""
        return not self._sent

    def ask(self, number: int) -> None:
        """Send a question."""
        self._sent.append(time.perf_counter())
        self.send(echo_message(number))

    def take(self, text: bytes) -> None:
        """Take an answer; they come in the order of the questions."""
        if text.startswith(b'{"type":"reply"'):
            self._taken.append(time.perf_counter() - self._sent.popleft())


async def under_load(visit: Visit, sizes: Sizes, log_in: LogIn) -> Figures:
    """Measure round trips without a load, and with each."""
    dialect = visit.dialect
    if not isinstance(dialect, Authenticated):
        raise TypeError(f"expected the gateway, got {visit.name}: the peers have no log-in")
    taken: list[float] = []
    asking = await visit.open([Asking(taken) for _ in range(ASKING)], ECHO)
    for client in asking:
        client.listen()
    figures: Figures = {}
    async with Crowd(dialect.port, dialect.tokens, sizes.listening, log_in.name, log_in.password) as crowd:
        await _ask(asking, sizes.seconds)  # to warm up
        taken.clear()
        idly_late = await _ask(asking, sizes.lasting)
        unloaded = 1000 * percentile(taken, 99)
        for name, load in LOADS.items():
            await crowd.begin(load)
            began = time.perf_counter()
            await asyncio.sleep(sizes.seconds)
            taken.clear()
            late = await _ask(asking, sizes.lasting)
            loaded = 1000 * percentile(taken, 99)
            took = time.perf_counter() - began
            done = await crowd.rest()
            figures[f"{P99} {name}"] = {visit.name: loaded, UNLOADED: unloaded}
            figures[f"{LATE} {name}"] = {visit.name: late, UNLOADED: idly_late}
        figures[HEARD] = {visit.name: done.heard / took}
        figures[HASHED] = {visit.name: done.welcome / took}
        figures[REFUSED] = {visit.name: done.refused / took}
    return figures


async def _ask(asking: Sequence[Asking], seconds: float) -> float:
    """Ask in turns for so many seconds and await the answers; return the p99 of the ms by which questions were late."""
    pace = Pace(ASKED_PER_SECOND, lambda number: asking[number % len(asking)].ask(number))
    with woken_first():
        await pace.run(seconds)
        async with asyncio.timeout(ANSWER_SECONDS):
            while not all(client.answered for client in asking):  # noqa: ASYNC110 - there are hundreds of clients
                await asyncio.sleep(0.01)
    return 1000 * percentile(pace.late, 99)
