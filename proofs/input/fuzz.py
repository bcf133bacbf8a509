"""A fuzzer: a million bad frames of some users, while another user is served as ever."""

import asyncio
import math
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field

import orjson

from benchmarks.rig import Person, StoreKind, database_for, memory_kb, populate, store_url, temporary_folder
from proofs.bar import Bar, Report, Scale, none_of
from proofs.input.ending import NO_CODE, Ending, ending_of
from proofs.input.line import WAIT_SECONDS, Line, opened
from proofs.input.mutations import Mutations
from proofs.input.talker import talking
from proofs.logs import wrong_lines
from proofs.server import Server
from tests.support.wire import CLOSE, TEXT, frame

FRAMES = {Scale.FULL: 1_000_000, Scale.SHORT: 50_000}
WARM_UP = {Scale.FULL: 150_000, Scale.SHORT: 30_000}
"""Frames before memory is measured for the first time: caches and rooms fill."""

CLIENTS = 8
BATCH = 100
"""Frames between two looks at the answers."""

SERVED_SECONDS = 0.05
"""The pause of the user that is served meanwhile."""
SLOWEST_SECONDS = 5
"""Above this, a client would take its message for lost."""

ROOMS = ["lobby", "attic", "cellar", "garden", "kitchen"]
QUIET = "quiet"

RIGHT_CODES = frozenset({1000, 1002, 1007, 1009})
"""What broken frames may get: a `bye`, a frame that is wrong, no UTF-8, or a length beyond the limit."""

SILENCE_SECONDS = 0.3
"""How long the gateway has to answer what asks for no answer."""

MEMORY_SHARE = 0.1

LIMITS = {"GATEWAY_MAX_PROTOCOL_ERRORS": "0", "GATEWAY_MAX_ROOMS_OWNED": "20", "GATEWAY_MAX_ROOMS_JOINED": "60"}


@dataclass
class Seen:
    """What the gateway has done."""

    frames: int = 0
    """Frames that an answer or a close after them shows to be read."""
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    served: int = 0
    unserved: int = 0
    wrong: list[str] = field(default_factory=list)

    def fault(self, words: str) -> None:
        """Note a fault of the gateway."""
        self.wrong.append(words[:400])


async def prove_fuzz(scale: Scale, report: Report, seed: str | None = None) -> list[Bar]:
    """Send the frames, and return what became of the gateway."""
    seed = seed or secrets.token_hex(4)
    report(f"fuzzer: the seed is {seed}")
    people = [Person(f"fuzz-{number}") for number in range(CLIENTS)]
    served = Person("served")
    seen = Seen()
    with temporary_folder() as folder, store_url(StoreKind.SQLITE, folder) as url:
        database = database_for(url)
        await populate(database, [*people, served], dict.fromkeys(ROOMS, people) | {QUIET: [served]})
        await database.close()
        server = Server(folder, url, **LIMITS)
        async with server.running() as pid:
            watching = asyncio.create_task(_served(server.port, served, seen))
            fuzzers = [
                Fuzzer(server.port, person, Mutations(f"{seed}-{person.name}", ROOMS, [p.name for p in people]), seen)
                for person in people
            ]
            await _until(fuzzers, WARM_UP[scale], seen)
            before, warm = await _memory(pid), seen.frames
            began = time.monotonic()
            await _until(fuzzers, warm + FRAMES[scale], seen)
            seconds = time.monotonic() - began
            after = await _memory(pid)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            alive = await _answers(server.port, served)
        fault = wrong_lines("lines of the log that report a fault, after the fuzzer", server.log)
    for each in seen.wrong[:5]:
        report(f"fuzzer, seed {seed}: {each}")
    sent = seen.frames - warm
    report(f"fuzzer: {sent:,} frames in {seconds:.0f} s; errors {dict(seen.statuses)}, closes {dict(seen.codes)}")
    what = "frames of the fuzzer, after the warm-up"
    return [
        Bar(what, f"≥ {FRAMES[scale]:,}", f"{sent:,}, seed {seed}", sent >= FRAMES[scale]),
        none_of("answers with 50000 or above, closes with 1011, and other faults, to the fuzzer", len(seen.wrong)),
        Bar("the same process serves after the fuzzer", "yes", "yes" if alive else "no", alive),
        fault,
        served_bar(seen),
        memory_bar(before, after),
    ]


def served_bar(seen: Seen) -> Bar:
    """Return the bar of the client that is served meanwhile."""
    found = f"{seen.served - seen.unserved:,} of {seen.served:,}"
    what = f"messages of another client that were answered within {SLOWEST_SECONDS} s meanwhile"
    return Bar(what, "all", found, seen.served > 0 and not seen.unserved)


def memory_bar(before: int, after: int) -> Bar:
    """Return the bar of the server's memory."""
    share = after / before - 1
    found = f"{share:+.1%}: {before / 1024:.1f} MB, then {after / 1024:.1f} MB"
    return Bar("memory of the gateway after the fuzzer", "± 10 %", found, abs(share) <= MEMORY_SHARE, is_figure=True)


async def _until(fuzzers: "list[Fuzzer]", frames: int, seen: Seen) -> None:
    await asyncio.gather(*(fuzzer.run(frames) for fuzzer in fuzzers))


async def _memory(pid: int) -> int:
    await asyncio.sleep(2)  # closed connections end
    return memory_kb(pid)


class Fuzzer:
    """One client that sends bad frames, and comes back whenever it is cut off."""

    def __init__(self, port: int, person: Person, mutations: Mutations, seen: Seen) -> None:
        self._port = port
        self._person = person
        self._mutations = mutations
        self._seen = seen
        self._batch: list[bytes] = []

    async def run(self, frames: int) -> None:
        """Send until the gateway has read so many frames of all clients together."""
        while self._seen.frames < frames and len(self._seen.wrong) < 100:
            try:
                async with opened(self._port, self._person.token) as line:
                    await self._join(line)
                    while self._seen.frames < frames and await self._send(line):
                        pass
            except (ConnectionError, TimeoutError, ValueError) as error:
                self._fault(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.1)

    async def _join(self, line: Line) -> None:
        await line.say({"type": "room.resume", "id": "join", "data": {"rooms": [{"room": room} for room in ROOMS]}})

    async def _send(self, line: Line) -> bool:
        """Send a batch, count what the gateway has read, and return whether the connection is still there."""
        self._batch = self._mutations.batch(BATCH)
        await line.write(b"".join([*self._batch[:-1], frame('{"type":"ping","id":"mark"}')]))
        if not await self._read(line, "mark"):
            return False
        self._seen.frames += len(self._batch) - 1
        last = self._batch[-1] + frame('{"type":"ping","id":"last"}')
        await line.write(last)
        return await self._read_last(line, ending_of(last))

    async def _read_last(self, line: Line, ending: Ending) -> bool:
        """Read up to the answer to a batch's last frame, which may be broken.

        A part of a frame swallows the ping. Then nothing comes, and the client goes.
        """
        try:
            goes_on = await self._read(line, "last", ending)
        except TimeoutError:
            if ending.waits:
                return False
            raise
        self._seen.frames += 1
        return goes_on

    async def _read(self, line: Line, mark: str, ending: Ending | None = None) -> bool:
        """Read up to the answer to a ping. Return False at the end of the connection, and raise `TimeoutError`.

        Only with an ending may the gateway close, and an end without a close frame is a fault. A part of a frame
        swallows the answers to the gateway's own pings as well: the client goes before they are missed, also while
        the events of others come.
        """
        waits = ending is not None and ending.waits
        until = time.monotonic() + SILENCE_SECONDS if waits else math.inf
        while True:
            received = await line.look(min(WAIT_SECONDS, max(0.0, until - time.monotonic())))
            await line.read()
            if received is None:
                self._fault("cut without a close frame")
                return False
            opcode, payload = received
            if opcode == CLOSE:
                self._closed(payload, ending)
                return False
            if opcode == TEXT and self._take(payload) == mark:
                return True

    def _take(self, payload: bytes) -> object:
        """Look at a frame, and return its id."""
        answer = orjson.loads(payload)
        if answer["type"] == "error":
            self._seen.statuses[answer["status"]] += 1
            if answer["status"] >= 50000 and answer["status"] < 60000:
                self._fault(str(answer))
        elif answer["type"] == "chat.message":
            data = answer["data"]
            known = self._mutations.messages
            known.append((data["room"], data["id"], data["epoch"], data["offset"]))
            del known[:-200]
        return answer.get("id")

    def _closed(self, payload: bytes, ending: Ending | None) -> None:
        code = int.from_bytes(payload[:2]) if payload else NO_CODE
        self._seen.codes[code] += 1
        if ending is None:
            self._fault(f"closed with {code} {payload[2:]!r}, before a frame that may end the connection")
        elif code not in RIGHT_CODES and code != ending.own_code:
            self._fault(f"closed with {code} {payload[2:]!r}")

    def _fault(self, words: str) -> None:
        last = [each[:200] for each in self._batch[-3:]]
        self._seen.fault(f"{words}; the last of the batch: {last}")


async def _served(port: int, person: Person, seen: Seen) -> None:
    """Send messages as another user, and see that each is answered and heard."""
    async with talking(port, person.token) as talker:
        await talker.ask("room.join", room=QUIET)
        while True:
            began = time.monotonic()
            try:
                answer = await talker.ask("chat.send", room=QUIET, text="all is well")
            except (TimeoutError, ConnectionError) as error:
                answer = {"error": type(error).__name__}
            seen.served += 1
            if answer.get("status") != 20000 or time.monotonic() - began > SLOWEST_SECONDS:
                seen.unserved += 1
                seen.fault(f"another client was served wrongly: {answer}")
                return
            talker.forget()
            await asyncio.sleep(SERVED_SECONDS)


async def _answers(port: int, person: Person) -> bool:
    try:
        async with talking(port, person.token) as talker:
            answer = await talker.ask("ping")
    except (ConnectionError, TimeoutError, OSError):
        return False
    return bool(answer.get("status") == 20000)
