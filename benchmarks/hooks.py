"""Kills the gateway and a receiver of its events, and counts what arrives: `python -m benchmarks.hooks`.

Users talk as in `benchmarks.crash`. Each stored message must reach the receiver. SIGKILL ends both sides between store
and delivery, and between delivery and answer. The receiver writes each event down before it answers, so what it got is
known after all kills. At the end, each message of the store must be there. A repeat must have the same `webhook-id` and
the same body. In each room, messages must come first in the order of their offsets.

A failed attempt is repeated after five seconds and more, which is longer than a life. So before each life, all that
waits is made due, as `gateway hooks retry` does.

After that, events that are stored already are sent without kills, to count how many a second go out, and their CPU.
"""

import asyncio
import base64
import json
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, select

from benchmarks.crash import LAST_WORDS_SECONDS, LONGEST_LIFE_SECONDS, MEAN_LIFE_SECONDS, Run
from benchmarks.durable import TEXT
from benchmarks.report import JsonFile, conclude, interruptible, machine, table_of_counts, write_figures
from benchmarks.rig import (
    Lives,
    Person,
    Server,
    StoreKind,
    cpu_seconds,
    database_for,
    free_port,
    populate,
    store_url,
    temporary_folder,
)
from benchmarks.story import Story
from benchmarks.talker import Talker
from gateway.core.clock import SystemClock, milliseconds
from gateway.store import outgoing_events, webhooks
from gateway.store.engine import Database
from gateway.store.messages import message_id
from gateway.store.outgoing_events import NewEvent
from gateway.store.tables import messages, rooms

HOOK = "push"
SLOWEST_ANSWER_SECONDS = 0.02
DELIVERED_WITHIN_SECONDS = 120
RECEIVER = Path(__file__).with_name("hook_receiver.py")

ROUTES = """
[hooks.{name}]
url = "http://127.0.0.1:{port}/"
secret = "whsec_{secret}"
types = ["message.stored"]
"""


class Receiver:
    """The receiver, in a process of its own that can be killed and started again on the same port."""

    def __init__(self, folder: Path, slowest_answer: float) -> None:
        self.port = free_port()
        self.routes = folder / "routes.toml"
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self.routes.write_text(ROUTES.format(name=HOOK, port=self.port, secret=secret), encoding="utf-8")
        self._file = folder / "received.jsonl"
        self._file.touch()
        self._slowest_answer = slowest_answer
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process is None:
            arguments = [str(RECEIVER), str(self.port), str(self._file), str(self._slowest_answer)]
            command = [sys.executable, "-I", "-S", *arguments]
            self._process = subprocess.Popen(command)  # noqa: S603 - our own program

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        """Run it while the context lasts."""
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def got(self) -> list["Received"]:
        """Return all events so far, in their order. A kill may have cut a line off."""
        lines = self._file.read_bytes().split(b"\n")
        return [Received(**json.loads(line)) for line in lines if line.endswith(b"}")]


@dataclass(frozen=True)
class Received:
    """An event that the receiver has written down."""

    at: float
    id: str
    body: str


@dataclass
class Delivered:
    """The messages that the receiver has got, and the faults among them."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def compare(self, got: list[Received], stored: dict[str, list[str]]) -> None:
        """Compare what the receiver got with the messages of the store, in the order of each room."""
        bodies: dict[str, str] = {}
        events: dict[str, str] = {}
        order: dict[str, list[str]] = {}
        for each in got:
            self.counts["requests"] += 1
            message = json.loads(each.body)["data"]["message"]
            if bodies.setdefault(each.id, each.body) != each.body:
                self.wrong.append(f"{each.id} came with another body")
            if events.setdefault(message["id"], each.id) != each.id:
                self.wrong.append(f"the message {message['id']} came as {each.id} and as {events[message['id']]}")
            if message["id"] not in order.setdefault(message["room"], []):
                order[message["room"]].append(message["id"])
        self.counts["events"] = len(bodies)
        self.counts["repeats"] = self.counts["requests"] - len(bodies)
        for room, ids in stored.items():
            self._compare_room(room, order.get(room, []), ids)

    def _compare_room(self, room: str, got: list[str], stored: list[str]) -> None:
        lost = set(stored) - set(got)
        self.counts["lost"] += len(lost)
        self.counts["unknown"] += len(set(got) - set(stored))
        if not lost and got != stored:
            self.counts["disordered"] += 1
            self.wrong.append(f"{room}: expected the order {stored[:5]}…, got {got[:5]}…")


class HookRun(Run):
    """A run whose receiver is killed too."""

    receiver: Receiver
    database: Database

    async def _life(self, lives: Lives) -> None:
        """Let both live for a while, and kill them one after the other, or the gateway alone."""
        await self.database.transact(_make_due)
        self.receiver.start()
        await lives.start()
        await self.server.answers(lives.goes_on)
        never = asyncio.Event()
        talking = [asyncio.create_task(talker.live(self.server, never)) for talker in self.talkers]
        first, second = sorted(self._moment() for _ in range(2))
        await asyncio.sleep(first)
        kills_receiver_first = self.chance.random() < 0.5
        if kills_receiver_first:
            self.receiver.kill()
        else:
            await lives.kill()
        await asyncio.sleep(second - first)
        if kills_receiver_first:
            await lives.kill()
        else:
            self.receiver.kill()
        async with asyncio.timeout(LAST_WORDS_SECONDS):
            await asyncio.gather(*talking)

    def _moment(self) -> float:
        return min(self.chance.expovariate(1 / MEAN_LIFE_SECONDS), LONGEST_LIFE_SECONDS)

    async def _compare(self) -> None:
        """Wait until all is delivered."""
        await super()._compare()
        self.receiver.start()
        await self.database.transact(_make_due)
        await _until_empty(self.database)


def _make_due(connection: Connection) -> None:
    webhooks.enable(connection, HOOK)
    outgoing_events.retry(connection, HOOK)


async def _until_empty(database: Database) -> None:
    async with asyncio.timeout(DELIVERED_WITHIN_SECONDS):
        while await database.query(outgoing_events.figures):  # noqa: ASYNC110 - another process empties it
            await asyncio.sleep(0.05)


async def stored_messages(database: Database) -> dict[str, list[str]]:
    """Return the ids of all messages, by room, in the order of their offsets."""
    query = select(rooms.c.name, rooms.c.epoch, messages.c.offset).join(messages, messages.c.room_id == rooms.c.id)
    found: dict[str, list[str]] = {}
    for name, epoch, offset in await database.query(lambda at: at.execute(query.order_by(messages.c.offset)).all()):
        found.setdefault(name, []).append(message_id(epoch, offset))
    return found


async def kill_both(
    *, kills: int, seconds: float, clients: int, names: int, seed: int, store: StoreKind, report: Callable[[str], None]
) -> tuple[Story, Delivered]:
    """Run the kills on a store of their own."""
    chance = random.Random(seed)  # noqa: S311 - chance, not secrets
    people = [Person(f"talker-{number}") for number in range(clients)]
    places = [f"room-{number}" for number in range(names)]
    story = Story.of(list(places))
    talkers = [Talker(person, places, story, random.Random(chance.random())) for person in people]  # noqa: S311
    delivered = Delivered()
    with temporary_folder() as folder, store_url(store, folder) as url:
        receiver = Receiver(folder, SLOWEST_ANSWER_SECONDS)
        database = database_for(url)
        try:
            with receiver.running():
                await populate(database, people, dict.fromkeys(places, people))
                server = Server(folder, url, log_level="error", GATEWAY_ROUTES=str(receiver.routes))
                run = HookRun(kills, seconds, server, talkers, story, chance)
                run.receiver, run.database = receiver, database
                await run.run(report)
            delivered.compare(receiver.got(), await stored_messages(database))
        finally:
            await database.close()
    return story, delivered


@dataclass(frozen=True)
class Rate:
    """Events a second, and the gateway's CPU for each in microseconds."""

    rooms: int
    per_second: float
    cpu: float


async def rate(events: int, rooms: int, store: StoreKind) -> Rate:
    """Store events of so many rooms, and measure how they go out."""
    with temporary_folder() as folder, store_url(store, folder) as url:
        receiver = Receiver(folder, 0)
        database = database_for(url)
        try:
            await database.upgrade()
            server = Server(folder, url, GATEWAY_ROUTES=str(receiver.routes))
            with receiver.running():
                async with server.running() as pid:
                    before = cpu_seconds(pid)
                    await database.run_script(outgoing_events.add(_some_events(events, rooms)))
                    await _until_empty(database)
                    cpu = cpu_seconds(pid) - before
            times = [each.at for each in receiver.got()]
        finally:
            await database.close()
    return Rate(rooms, (len(times) - 1) / (max(times) - min(times)), 1e6 * cpu / len(times))


def _some_events(count: int, rooms: int) -> list[NewEvent]:
    now = milliseconds(SystemClock())
    return [
        NewEvent(HOOK, f"room:room-{number % rooms}", f"msg_{number:032x}", "message.stored", _data(number, rooms), now)
        for number in range(count)
    ]


def _data(number: int, rooms: int) -> str:
    message = {
        "id": f"yj4XTlDc.{number}",
        "room": f"room-{number % rooms}",
        "epoch": "yj4XTlDc",
        "offset": number,
        "changed": number,
        "sender": "carol",
        "text": TEXT,
        "sent_at": "2026-11-20T23:20:08.804Z",
        "deleted": False,
    }
    return json.dumps({"message": message})


def table_of_kills(story: Story, delivered: Delivered, seconds: float) -> Table:
    """Build the table of the kills."""
    counts = delivered.counts
    lines = (
        ("kills of the gateway, and as many of the receiver", story.counts["kills"]),
        ("sends acknowledged", story.counts["chat.send"]),
        ("events delivered", counts["events"]),
        ("of these, more than once: further requests", counts["repeats"]),
        ("lost: stored, and never delivered", counts["lost"]),
        ("unknown: delivered, and not stored", counts["unknown"]),
        ("rooms out of order", counts["disordered"]),
        ("otherwise wrong", len(story.wrong) + len(delivered.wrong)),
        ("seconds", round(seconds)),
    )
    return table_of_counts("Kill -9 of the gateway and of the receiver", lines)


def table_of_rates(rates: list[Rate]) -> Table:
    """Build the table of the rates."""
    table = Table(title="Events sent", caption=machine())
    for heading in ("rooms", "events/s", "gateway µs"):
        table.add_column(heading, justify="right")
    for each in rates:
        table.add_row(f"{each.rooms:,}", f"{each.per_second:,.0f}", f"{each.cpu:.0f}")
    return table


def main(
    kills: Annotated[int, typer.Option(min=0, max=10_000, help="How often.")] = 200,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="No more kills after this time.")] = 600,
    clients: Annotated[int, typer.Option(min=1, max=100, help="How many people talk.")] = 6,
    rooms: Annotated[int, typer.Option(min=1, max=100, help="In how many rooms.")] = 8,
    events: Annotated[int, typer.Option(min=0, max=50_000, help="Events to send without kills; 0 for none.")] = 5000,
    seed: Annotated[int | None, typer.Option(help="Repeats the choices of a run, though not its timing.")] = None,
    store: Annotated[StoreKind, typer.Option(help="Which store.")] = StoreKind.SQLITE,
    json_file: JsonFile = None,
) -> None:
    """Kill the gateway and a receiver of its events; exit with 1 if an event is lost, changed or out of order."""
    console = Console(highlight=False)
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    console.print(f"store {store}, seed {seed}")
    began = time.monotonic()
    kill = partial(kill_both, kills=kills, seconds=seconds, clients=clients, names=rooms, seed=seed, store=store)
    with interruptible():
        story, delivered = uvloop.run(kill(report=console.print))
        console.print(table_of_kills(story, delivered, time.monotonic() - began))
        rates = [uvloop.run(rate(events, rooms, store)) for rooms in (1, 1000)] if events else []
    if rates:
        console.print(table_of_rates(rates))
    if json_file is not None:
        found = {"kills": story.counts["kills"], **delivered.counts}
        figures = {"machine": machine(), "kills": found, "rates": [vars(each) for each in rates]}
        write_figures(json_file, figures)
    failed = any(delivered.counts[name] for name in ("lost", "unknown", "disordered"))
    conclude(console, [*story.wrong, *delivered.wrong], failed=failed)


if __name__ == "__main__":
    typer.run(main)
