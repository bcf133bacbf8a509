"""Measures the system's own share of the cost: `python -m benchmarks.floor`.

Bytes of the size of a frame go to a thousand sockets, and to and fro over fifty. There is no protocol and almost no
Python in between. No server on this machine that writes to each socket separately can cost less.
"""

import asyncio
import multiprocessing
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.report import JsonFile, machine, table_of_costs, write_figures

READ_BYTES = 65536
REST_SECONDS = 0.01
"""Seconds between two rounds of sends, so that the other end reads each one separately."""


@dataclass(frozen=True)
class Floor:
    """Microseconds of CPU of the sending process."""

    send: float
    """A send to one of many sockets."""
    round_trip: float
    """A wait for the next socket, a read and a send."""


class _Peer(asyncio.Protocol):
    """The other end: it reads. If it has a question, it sends that at first and after each read."""

    def __init__(self, question: bytes) -> None:
        self._question = question

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._say()

    def data_received(self, data: bytes) -> None:
        self._say()

    def _say(self) -> None:
        if self._question:
            self._transport.write(self._question)  # type: ignore[attr-defined]


def measure(listening: int, echoing: int, size: int, seconds: float) -> Floor:
    """Measure both, each for `seconds`, with frames of `size` bytes."""
    with _connected(listening, b"") as sockets:
        send = _sends(sockets, bytes(size), seconds)
    with _connected(echoing, bytes(size)) as sockets:
        round_trip = _round_trips(sockets, bytes(size), seconds)
    return Floor(1e6 * send, 1e6 * round_trip)


def _sends(sockets: list[socket.socket], frame: bytes, seconds: float) -> float:
    until = time.perf_counter() + seconds
    used, rounds = 0.0, 0
    while time.perf_counter() < until:
        began = time.process_time()
        for each in sockets:
            each.send(frame)
        used += time.process_time() - began
        rounds += 1
        time.sleep(REST_SECONDS)
    return used / rounds / len(sockets)


def _round_trips(sockets: list[socket.socket], frame: bytes, seconds: float) -> float:
    by_number = {each.fileno(): each for each in sockets}
    with select.epoll() as epoll:
        for number in by_number:
            epoll.register(number, select.EPOLLIN)
        until = time.perf_counter() + seconds
        began, answers = time.process_time(), 0
        while time.perf_counter() < until:
            for number, _ in epoll.poll():
                by_number[number].recv(READ_BYTES)
                by_number[number].send(frame)
                answers += 1
        return (time.process_time() - began) / answers


@contextmanager
def _connected(count: int, question: bytes) -> Iterator[list[socket.socket]]:
    """Yield sockets with their other ends in another process."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=count))
        peers = multiprocessing.get_context("spawn").Process(
            target=_run_peers, args=(listener.getsockname()[1], count, question), daemon=True
        )
        peers.start()
        stack.callback(peers.join)
        stack.callback(peers.terminate)
        sockets = [stack.enter_context(listener.accept()[0]) for _ in range(count)]
        for each in sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sockets


def _run_peers(port: int, count: int, question: bytes) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            await loop.create_connection(lambda: _Peer(question), "127.0.0.1", port)
        await asyncio.Event().wait()

    uvloop.run(run())


def table_of(floor: Floor, size: int) -> Table:
    """Build the table of the figures."""
    return table_of_costs(
        f"What the system takes for {size} bytes",
        [("a send to one of many", f"{floor.send:.2f}"), ("a round trip", f"{floor.round_trip:.2f}")],
    )


def main(
    listening: Annotated[int, typer.Option(min=1, max=10_000, help="How many sockets to send to.")] = 1000,
    echoing: Annotated[int, typer.Option(min=1, max=1000, help="How many to echo on.")] = 50,
    size: Annotated[int, typer.Option(min=1, max=65536, help="How many bytes each time.")] = 330,
    seconds: Annotated[float, typer.Option(min=0.1, max=30, help="How long to measure each.")] = 5,
    json_file: JsonFile = None,
) -> None:
    """Measure the system's cost of a send and of a round trip."""
    floor = measure(listening, echoing, size, seconds)
    Console().print(table_of(floor, size))
    if json_file is not None:
        write_figures(json_file, {"machine": machine(), "size": size, "floor": asdict(floor)})


if __name__ == "__main__":
    typer.run(main)
