"""A soak: clients that come, talk and go for hours, while nothing of the gateway may grow.

Five hundred clients are each in two rooms of ten. Each second, twenty of them go and come back, some with a ticket or
a log-in, and two hundred messages are sent. Beside that, rooms are made and deleted, and a receiver gets the events of
one room. What grows is found by the slope of its samples.
"""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import Child
from benchmarks.hooks import Receiver
from benchmarks.rig import Person, StoreKind, database_for, person_with_password, populate, store_url, temporary_folder
from proofs.bar import Bar, Proof, Report, Scale, none_of
from proofs.clients import PATIENCE_SECONDS
from proofs.logs import wrong_lines
from proofs.members import in_rooms, orders_for
from proofs.soak.samples import Samples
from proofs.watched_server import WatchedServer

LENGTHS = {Scale.FULL: 7200.0, Scale.SHORT: 600.0}
WARM_SHARE = 0.25
"""The first part of the time, in which caches, files and tables reach their size."""

SAMPLES = 120
LEAST_LOOK_SECONDS = 0.25
"""All threads of the gateway wait while one looks inside it, and so does its start."""

MEMORY_SHARES = {Scale.FULL: 0.02, Scale.SHORT: 0.05}
"""How much the memory may grow. In a short time, fewer samples are beside those of a busy moment."""

PASSWORD = "correct horse battery staple"  # noqa: S105 - of this run's users
ANSWER_SECONDS = 300
KEPT_MESSAGES = 200
HOOKED = "room-0"

ENOUGH = 0.95
"""The share of the load that must have come about."""

JOBS_WITH_A_ROOM = 2 / 5
"""The share of the odd jobs that make and delete a room."""

FAULTS = {
    "deliveries and messages lost": ("lost",),
    "deliveries and messages doubled": ("doubled",),
    "clients cut off or not back": ("lost connections", "not back"),
    f"messages without an answer in {PATIENCE_SECONDS:g} s": ("late answers", "unanswered"),
    "messages and requests refused": ("refused messages", "refused requests", "faults of the clients"),
    "connections, messages and requests refused for a while": ("refused connections", "asked to try again"),
    "odd jobs that failed": ("failed odd jobs",),
}
"""What the clients count that must not happen."""


@dataclass(frozen=True)
class Sizes:
    """The load, with times a second."""

    clients: int = 500
    churn: float = 20
    messages: float = 200
    odd_jobs: float = 5


async def soak(seconds: float, sizes: Sizes, report: Report, *, memory_share: float = 0.02) -> list[Bar]:
    """Load a gateway for so long, and return the bars of what must not grow or get lost."""
    seed = random.randrange(2**32)
    report(f"the seed of the clients' choices is {seed}")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        url = stack.enter_context(store_url(StoreKind.SQLITE, folder))
        receiver = stack.enter_context(Receiver(folder, 0).running())
        limit_events(receiver.routes)
        people, rooms = await _people(url, sizes.clients)
        step = seconds / SAMPLES
        server = WatchedServer(
            folder,
            url,
            max(LEAST_LOOK_SECONDS, step / 2),
            GATEWAY_ROUTES=str(receiver.routes),
            GATEWAY_RETENTION_MESSAGES=str(KEPT_MESSAGES),
        )
        logs: list[Bar] = []  # the bar is of the log up to the end
        stack.callback(lambda: logs.append(wrong_lines("lines of the log that report a fault", server.log)))
        pid = await stack.enter_async_context(server.running())
        rates = {"churn": sizes.churn, "messages": sizes.messages, "odd jobs": sizes.odd_jobs}
        orders = orders_for(
            server.port, people, rooms, seed, rates=rates, password=PASSWORD, url=url, kept=KEPT_MESSAGES
        )
        crowd = await stack.enter_async_context(Child("proofs.clients", orders, ANSWER_SECONDS))
        report(f"{sizes.clients} clients are in their rooms")
        samples = Samples(pid, server.inside, folder / "gateway.db", memory_share)
        await _sample(samples, crowd, seconds, step, report)
        end = await crowd.ask("end")
        for line in end["wrong"]:
            report(line)
        report(f"at the end: {end['counts']}")
        hooked = len({each.id for each in receiver.got()})
    return [*_of_clients(end["counts"], sizes, seconds), *samples.bars(), _heard_by_receiver(hooked), *logs]


async def _sample(samples: Samples, crowd: Child, seconds: float, step: float, report: Report) -> None:
    began, told = time.monotonic(), 0
    await asyncio.sleep(WARM_SHARE * seconds)
    while (elapsed := time.monotonic() - began) < seconds:
        sample = await asyncio.to_thread(samples.take)
        if len(samples.times) % 10 == 1:
            so_far = await crowd.ask("counts")
            report(", ".join(f"{name} {value:,.0f}" for name, value in sample.items() if value))
            report(f"clients: {so_far['counts']}")
            for line in so_far["wrong"][told:]:
                report(line)
            told = len(so_far["wrong"])
        await asyncio.sleep(min(step, max(0.1, seconds - elapsed)))


def limit_events(routes: Path) -> None:
    """Let the receiver get the messages of one room."""
    text = routes.read_text(encoding="utf-8")
    routes.write_text(f'{text}rooms = ["{HOOKED}"]\n', encoding="utf-8")


async def _people(url: str, count: int) -> tuple[list[Person], dict[str, list[Person]]]:
    first = await person_with_password("first", PASSWORD, 4)
    people, rooms = in_rooms([Person(f"person-{number}", first.password_hash) for number in range(count)])
    database = database_for(url)
    try:
        await populate(database, people, rooms)
    finally:
        await database.close()
    return people, rooms


def _of_clients(counts: dict[str, int], sizes: Sizes, seconds: float) -> list[Bar]:
    done = [counts[name] for name in ("acknowledged", "churned", "heard")]
    load = "{:,} messages, {:,} returns, {:,} deliveries".format(*done)
    wanted = [round(ENOUGH * seconds * rate) for rate in (sizes.messages, sizes.churn)]
    limit = "≥ {:,} messages, {:,} returns".format(*wanted)
    rooms = round(ENOUGH * seconds * sizes.odd_jobs * JOBS_WITH_A_ROOM)
    passed = counts.get("rooms made and deleted", 0)
    is_enough = all(count >= least for count, least in zip(done, wanted, strict=False))
    return [
        Bar(f"load of {seconds / 60:.0f} min", limit, load, is_enough),
        Bar("rooms made and deleted", f"≥ {rooms:,}", f"{passed:,}", passed >= rooms),
        *(none_of(what, sum(counts.get(fault, 0) for fault in faults)) for what, faults in FAULTS.items()),
    ]


def _heard_by_receiver(count: int) -> Bar:
    return Bar("events that the receiver got", "> 0", f"{count:,}", count > 0)


async def _prove(scale: Scale, report: Report) -> list[Bar]:
    return await soak(LENGTHS[scale], Sizes(), report, memory_share=MEMORY_SHARES[scale])


PROOF = Proof("soak", "Clients come, talk and go for hours, and nothing grows.", _prove)
