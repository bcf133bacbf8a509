"""Measures the cost of the gateway's own code, without the system: `python -m benchmarks.inside`.

Handshakes, messages and events go through the server's own protocols, to and from sockets that only count.
`benchmarks.floor` measures the system's share. Without the system, figures differ less from run to run, so this
benchmark shows changes of the code that others cannot.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

import typer
import uvloop
from rich.console import Console
from rich.table import Table
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from benchmarks.dialects import OPENING, ROOM_NAME
from benchmarks.report import JsonFile, machine, table_of_costs, write_figures
from benchmarks.rig import Person, StoreKind, populate, settings_for, store_url, temporary_folder
from benchmarks.streaming import REGISTRY
from benchmarks.talk import echo_message
from gateway.app import create_app
from gateway.cli.serve import server_config
from gateway.config.settings import PREFIX, Settings
from gateway.core.garbage import tune_garbage_collector
from gateway.state import GatewayState
from gateway.transport.frames import text_frame
from handlers.registry import BUILT_IN

MESSAGES = 40
CACHES = 64 * 1024 * 1024
"""Bytes, more than any cache of a processor holds."""
ROUND_SECONDS = 10
HANDSHAKE = (
    b"HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
EVENT = text_frame(b'{"type":"chat.message","data":{"text":"%b"}}' % (b"x" * 280))


@dataclass(frozen=True)
class Inside:
    """Microseconds of CPU: the fastest of several rounds, and the average of the garbage collector."""

    connection: float
    """A handshake with a token, up to the welcome."""
    message: float
    """An `echo`, from bytes to bytes."""
    delivery: float
    """An event for one listener of many, with nothing of it in the processor's caches."""
    chunk: float
    """A chunk of an answer, from the `yield` on."""
    event: float
    """An event of the same size, from `send_event` on."""
    collector: float
    """The garbage collector's share of one new connection, with Python's thresholds."""
    calm_collector: float
    """The same with the thresholds of `gateway serve`."""


class Line(asyncio.Transport):
    """A socket without another end: it counts writes, and feeds the protocol that reads from it."""

    written = 0
    """Writes to all lines together."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.last: Any = b""
        self._protocol: Any = None

    @classmethod
    def open(cls, config: Config, server: ServerState, state: GatewayState, person: Person) -> Self:
        """Connect a user."""
        line = cls()
        # uvicorn's HTTP protocol, which the WebSocket protocol replaces after the handshake.
        line._protocol = config.http_protocol_class(  # type: ignore[call-arg]
            config=config, server_state=server, app_state={"gateway": state}
        )
        line._protocol.connection_made(line)
        line.hear(b"GET /ws/chat?token=%b %b" % (person.token.encode(), HANDSHAKE))
        return line

    def hear(self, data: bytes) -> None:
        """Pass a client's bytes to the protocol."""
        self._protocol.data_received(data)

    def hang_up(self) -> None:
        """End."""
        self._protocol.connection_lost(None)

    @property
    def is_welcome(self) -> bool:
        """Return whether the welcome has been written."""
        return b'"welcome"' in self.last

    def write(self, data: Any) -> None:
        """Count a write."""
        Line.written += 1
        self.last = data

    def get_protocol(self) -> Any:
        """Return the protocol that reads."""
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        """Let another protocol read."""
        self._protocol = protocol

    def is_closing(self) -> bool:
        """Return False: it never closes."""
        return False

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing waits."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignore the limits."""

    def pause_reading(self) -> None:
        """Do nothing: no bytes come by themselves."""

    def resume_reading(self) -> None:
        """Do nothing: no bytes come by themselves."""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def abort(self) -> None:
        """Do nothing: there is nothing to close."""


async def measure(listening: int, echoing: int, rounds: int) -> Inside:
    """Measure all figures."""
    with temporary_folder() as folder, store_url(StoreKind.SQLITE, folder) as url:
        people = [Person(f"person-{number}") for number in range(listening)]
        async with _gateway(folder, url, people) as (state, server, open_line):
            with _collecting() as collector:
                more, _ = await _connect(people, open_line)
            tune_garbage_collector()
            with _collecting() as calm_collector:
                lines, connections = await _connect(people, open_line)
            for line in more:
                line.hang_up()
            await _wait(lambda: state.connections.count == len(lines))
            messages = [await _echoes(lines[:echoing]) for _ in range(rounds)]
            deliveries = [await _events(lines, state) for _ in range(rounds)]
            chunks, events = [await _streams(lines[:echoing], kind, rounds) for kind in (b"chunks", b"events")]
            for line in lines:
                line.hang_up()
            await _wait(lambda: not server.tasks)
            of_collector = [1e6 * sum(each) / listening for each in (collector, calm_collector)]
            return Inside(min(connections), min(messages), min(deliveries), chunks, events, *of_collector)


@asynccontextmanager
async def _gateway(
    folder: Path, url: str, people: Sequence[Person]
) -> AsyncIterator[tuple[GatewayState, ServerState, Callable[[Person], Line]]]:
    values = {name.removeprefix(PREFIX).lower(): value for name, value in settings_for(folder, url).items()}
    settings = Settings(_env_file=None, **values)  # type: ignore[arg-type,call-arg]
    app = create_app(settings, registry=BUILT_IN | REGISTRY)
    config = server_config(settings, app, lifespan="off")
    config.load()
    async with app.router.lifespan_context(app) as state:
        state = state["gateway"]  # type: ignore[index]
        await populate(state.database, people, {ROOM_NAME: people})
        server = ServerState()
        yield state, server, partial(Line.open, config, server, state)


async def _connect(people: Sequence[Person], open_line: Callable[[Person], Line]) -> tuple[list[Line], list[float]]:
    lines: list[Line] = []
    taken = []
    for start in range(0, len(people), OPENING):
        began = time.process_time()
        some = [open_line(person) for person in people[start : start + OPENING]]
        await _wait(lambda: all(line.is_welcome for line in some))  # noqa: B023 - awaited within its round
        taken.append(1e6 * (time.process_time() - began) / len(some))
        lines += some
    return lines, taken


@contextmanager
def _collecting() -> Iterator[list[float]]:
    """Yield a list of the seconds of each collection from now on."""
    taken: list[float] = []
    began = 0.0

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = time.process_time()
        else:
            taken.append(time.process_time() - began)

    gc.callbacks.append(note)
    try:
        yield taken
    finally:
        gc.callbacks.remove(note)


async def _echoes(lines: Sequence[Line]) -> float:
    frames = [WireFrame(Opcode.TEXT, echo_message(number)).serialize(mask=True) for number in range(MESSAGES)]
    began = _Taken()
    for frame in frames:
        for line in lines:
            line.hear(frame)
        await asyncio.sleep(0)
    return await began.until(len(frames) * len(lines))


async def _events(lines: Sequence[Line], state: GatewayState) -> float:
    # A delivery costs what it has to fetch from memory. Between two, other work fills the processor's caches.
    assert len(b"x" * CACHES) == CACHES  # noqa: S101 - the comparison writes them
    began = _Taken()
    state.connections.deliver(EVENT)
    return await began.until(len(lines))


async def _streams(lines: Sequence[Line], kind: bytes, rounds: int) -> float:
    """Let a handler send in turns of the loop, and return the microseconds of the quickest round."""
    message = b'{"type":"%b","id":1,"stream":true,"data":{"count":%d}}' % (kind, MESSAGES)
    frame = WireFrame(Opcode.TEXT, message).serialize(mask=True)
    taken = []
    for _ in range(rounds):
        began = _Taken()
        for line in lines:
            line.hear(frame)
        taken.append(await began.until((MESSAGES + 1) * len(lines)))  # and a reply
    return min(taken)


class _Taken:
    """CPU time and writes from now on."""

    def __init__(self) -> None:
        self._written = Line.written
        self._began = time.process_time()

    async def until(self, writes: int) -> float:
        """Wait for `writes` writes, and return the microseconds of each."""
        await _wait(lambda: Line.written >= self._written + writes)
        return 1e6 * (time.process_time() - self._began) / writes


async def _wait(done: Callable[[], bool]) -> None:
    """Let the gateway work until `done()` is true."""
    async with asyncio.timeout(ROUND_SECONDS):
        while not done():  # noqa: ASYNC110 - an event would add to the measured cost
            await asyncio.sleep(0)


def table_of(inside: Inside) -> Table:
    """Build the table of the figures."""
    return table_of_costs(
        "What the gateway's own code takes",
        [
            ("a connection, up to the welcome", f"{inside.connection:.0f}"),
            ("an echo", f"{inside.message:.2f}"),
            ("a delivery", f"{inside.delivery:.2f}"),
            ("a chunk", f"{inside.chunk:.2f}"),
            ("an event that a handler sends in the same way", f"{inside.event:.2f}"),
            ("of a connection, the garbage collector", f"{inside.collector:.0f}"),
            ("of a connection, the garbage collector as it is calmed", f"{inside.calm_collector:.0f}"),
        ],
    )


def main(
    listening: Annotated[int, typer.Option(min=1, max=10_000, help="How many connect and hear.")] = 1000,
    echoing: Annotated[int, typer.Option(min=1, max=1000, help="How many of them echo.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Of how many rounds to take the quickest.")] = 50,
    json_file: JsonFile = None,
) -> None:
    """Measure the cost of a connection, a message, a delivery and a chunk in the gateway's own code."""
    inside = uvloop.run(measure(listening, echoing, rounds))
    Console(highlight=False).print(table_of(inside))
    if json_file is not None:
        write_figures(json_file, {"machine": machine(), "listening": listening, "echoing": echoing, **asdict(inside)})


if __name__ == "__main__":
    typer.run(main)
