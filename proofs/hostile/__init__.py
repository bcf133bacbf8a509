"""Hostile clients beside well-behaved ones: none of the latter is cut, and their messages take at most twice the time.

The gateway has its own limits here, as it has by default, where other proofs lift them. The hostile clients have one
address, as if one attacker had few machines. Each kind of attack is a pair of rounds: without it, and with it. The two
crowds are processes of their own, and what the hostile one sends has a bound. On two cores, a part of what is measured
is the machine that all three share.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.child import Child
from benchmarks.rig import (
    Person,
    StoreKind,
    cpu_seconds,
    database_for,
    populate,
    settings_for,
    store_url,
    temporary_folder,
)
from gateway.config.settings import PREFIX, Settings
from proofs.bar import Bar, Proof, Report, Scale, at_most, measured, none_of
from proofs.hostile.attacks import ATTACKS, shortfall
from proofs.logs import wrong_lines
from proofs.process import memory_kb, raise_limit_of_files
from proofs.server import Server

OTHERS = 100
HOSTILE_USERS = 20
ROOM_SIZE = 10
HOSTILE_ROOM = "hostile"
MOST_TIMES = 2.0
SECONDS = {Scale.FULL: 15.0, Scale.SHORT: 4.0}
GATHER_SECONDS = 2.0
"""Until an attack is in full progress."""

REST_SECONDS = 1.0
ANSWER_SECONDS = 300
MOST_MEMORY_MB = 200
ROOT = Path(__file__).parents[2]


def default_limits() -> dict[str, str]:
    """Return the limits that the benchmarks lift, as they are by default."""
    kept = {"data_dir", "secret_key"}
    names = [name.removeprefix(PREFIX).lower() for name in settings_for(Path(), None)]
    values = {name: Settings.model_fields[name].default for name in names if name not in kept}
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}


@dataclass
class Field:
    """The gateway, and the two crowds."""

    pid: int
    others: Child
    attackers: Child
    seconds: float
    report: Report
    log: Path
    missing: int = 0
    cut: int = 0
    weak: list[str] = field(default_factory=list)
    """The attacks that did not take place as they should, and what there was of them."""

    async def talk(self) -> float:
        """Let the others talk, and return the p99 of what they hear in milliseconds."""
        found = await self.others.ask(str(self.seconds))
        self.missing += found["missing"]
        self.cut = found["cut"]
        p99: float = found["p99"]
        return p99

    async def attack(self, name: str) -> Bar:
        """Measure a pair of rounds, without an attack and with it."""
        without = await self.talk()
        await self.attackers.ask(name)
        await asyncio.sleep(GATHER_SECONDS)
        used = cpu_seconds(self.pid)
        during = await self.talk()
        used = cpu_seconds(self.pid) - used
        counts: Counter[str] = Counter(await self.attackers.ask("rest"))
        if few := shortfall(ATTACKS[name].least(GATHER_SECONDS + self.seconds), counts):
            self.weak.append(f"{name}: {few}")
        self.report(f"{name}: {during:.1f} ms, {without:.1f} without; {used:.1f} s of CPU; {dict(counts)}")
        await asyncio.sleep(REST_SECONDS)
        times = during / without
        found = f"{during:.1f} ms, {without:.1f} without: {times:.2f}×"
        return Bar(
            f"p99 of a delivery to the others, while {name}",
            f"≤ {MOST_TIMES:g}×",
            found,
            times <= MOST_TIMES,
            is_figure=True,
        )


@asynccontextmanager
async def running(seconds: float, report: Report) -> AsyncIterator[Field]:
    """Run the gateway and both crowds."""
    raise_limit_of_files()
    people = [Person(f"person-{number}") for number in range(OTHERS)]
    hostile = [Person(f"hostile-{number}") for number in range(HOSTILE_USERS)]
    rooms = {f"room-{number}": people[start : start + ROOM_SIZE] for number, start in _starts()}
    open_rooms = {f"{HOSTILE_ROOM}-{number}": hostile[:1] for number in range(20)}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        url = stack.enter_context(store_url(StoreKind.SQLITE, folder))
        database = database_for(url)
        try:
            await populate(database, [*people, *hostile], rooms | {HOSTILE_ROOM: hostile} | open_rooms)
        finally:
            await database.close()
        more = {f"{PREFIX}REGISTRY": "proofs.hostile.handlers:registry", "PYTHONPATH": str(ROOT)}
        server = Server(folder, url, **default_limits() | more)
        pid = await stack.enter_async_context(server.running())
        tokens = [person.token for person in people]
        orders: dict[str, Any] = {"port": server.port, "tokens": tokens, "room_size": ROOM_SIZE}
        others = await stack.enter_async_context(Child("proofs.hostile.others", orders, ANSWER_SECONDS))
        orders = {"port": server.port, "tokens": [person.token for person in hostile], "room": HOSTILE_ROOM}
        attackers = await stack.enter_async_context(Child("proofs.hostile.attackers", orders, ANSWER_SECONDS))
        yield Field(pid, others, attackers, seconds, report, server.log)


def _starts() -> enumerate[int]:
    return enumerate(range(0, OTHERS, ROOM_SIZE))


async def fight(names: Sequence[str], seconds: float, report: Report) -> list[Bar]:
    """Measure each attack, and return the bars."""
    async with running(seconds, report) as ground:
        await ground.talk()  # to warm up
        before = memory_kb(ground.pid)
        bars = [await measured(lambda name=name: ground.attack(name), report) for name in names]  # type: ignore[misc]
        gained = (memory_kb(ground.pid) - before) / 1024
        log = wrong_lines("lines of the log that report a fault, during all attacks", ground.log)
    return [
        *bars,
        Bar(
            f"attacks that took place as they should, of {len(names)}",
            "all",
            "; ".join(ground.weak) or "all",
            not ground.weak,
        ),
        log,
        none_of(f"of {OTHERS} others, cut during {len(names)} attacks", ground.cut),
        none_of("deliveries to the others that did not come", ground.missing),
        at_most("memory gained over all attacks", gained, MOST_MEMORY_MB, " MB", digits=0),
    ]


async def _prove(scale: Scale, report: Report) -> list[Bar]:
    return await fight(list(ATTACKS), SECONDS[scale], report)


PROOF = Proof("hostile", "Hostile clients harm no other client.", _prove)
