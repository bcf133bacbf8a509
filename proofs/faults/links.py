"""Faults of links and servers: two nodes, PostgreSQL and Valkey, each a machine of a network of its own."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig import Server, temporary_folder
from proofs.faults.fault import Fault, Place
from proofs.faults.probe import takes_a_message
from proofs.faults.site import ON_THE_WAY, Node, Site, running_nodes
from tests.support.network import Machine, Network, running_network
from tests.support.postgres import Postgres, fresh_database, running_postgres
from tests.support.valkey import Valkey, running_valkey

SLOW_KBIT = 96

REACH_SECONDS = 30

SILENT_SECONDS = 10.0
"""For how long what strikes one node may hold up the other: the store lets go of its locks, and clients try again."""


@dataclass
class Links(Site):
    """Two nodes at a switch, with their store and their bus."""

    network: Network
    postgres: Postgres
    valkey: Valkey

    @property
    def first(self) -> Node:
        """Return the node that faults of one node happen to."""
        return self.nodes[0]

    @property
    def machine(self) -> Machine:
        """Return the machine of that node."""
        return self.first.server.machine


@asynccontextmanager
async def two_nodes(faults: Sequence[str]) -> AsyncIterator[Links]:
    """Start everything."""
    with ExitStack() as stack:
        network = stack.enter_context(running_network())
        postgres = stack.enter_context(running_postgres(sync=True, machine=network.machine()))
        url = stack.enter_context(fresh_database(postgres.url("postgres")))
        valkey = stack.enter_context(running_valkey(machine=network.machine()))
        servers = [server_on(network.machine(), stack.enter_context(temporary_folder()), url, valkey.url) for _ in "12"]
        async with running_nodes(servers, url, faults) as site:
            yield Links(site.nodes, site.url, site.people, site.prober, network, postgres, valkey)


def server_on(machine: Machine, folder: Path, store: str, bus: str, **settings: str) -> Server:
    """Return a node."""
    return Server(folder, store, machine, GATEWAY_BUS_URL=bus, **settings)


def doing(act: Callable[[Links], object]) -> Callable[[Links], Awaitable[None]]:
    """Return a function that does something at the site in a thread, since it waits for other programs."""

    async def run(site: Links) -> None:
        await asyncio.to_thread(act, site)

    return run


MEND = doing(lambda site: site.network.mend())


CONNECT = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
"""


def reaches(machine: Machine, address: str, port: int) -> bool:
    """Return whether a program on a machine can connect to a server."""
    command = [*machine.enter, sys.executable, "-c", CONNECT, address, str(port)]
    done = subprocess.run(command, capture_output=True, timeout=REACH_SECONDS, check=False)  # noqa: S603 - our own code
    return done.returncode == 0


def reaching(server: Callable[[Links], Postgres | Valkey]) -> Callable[[Links], Awaitable[str]]:
    """Return the doubt that the first node still reaches a server."""

    async def doubt(site: Links) -> str:
        there = server(site)
        found = await asyncio.to_thread(reaches, site.machine, there.machine.address, there.port)
        return "the node reaches the server" if found else ""

    return doubt


def unthrottled(server: Callable[[Links], Postgres | Valkey]) -> Callable[[Links], Awaitable[str]]:
    """Return the doubt that a server sends as fast as ever."""

    async def doubt(site: Links) -> str:
        found = await asyncio.to_thread(site.network.is_throttled, server(site).machine)
        return "" if found else "the link has its full rate"

    return doubt


STORE, BUS = reaching(lambda site: site.postgres), reaching(lambda site: site.valkey)


async def _first_serves(site: Links) -> str:
    return "the node takes messages" if await takes_a_message(site, site.first.server) else ""


async def _node_killed(site: Links) -> None:
    await site.first.kill()


async def _node_starts(site: Links) -> None:
    await site.first.start()


async def _node_paused(site: Links) -> None:
    site.first.pause()


async def _node_goes_on(site: Links) -> None:
    site.first.go_on()


PLACE = Place(
    "links",
    two_nodes,
    [
        Fault(
            "store-cut",
            "all between one node and PostgreSQL is dropped",
            doing(lambda site: site.network.part(site.machine, site.postgres.machine)),
            MEND,
            silence=SILENT_SECONDS,
            doubt=STORE,
        ),
        Fault(
            "store-deaf",
            "what one node sends to PostgreSQL is dropped",
            doing(lambda site: site.network.cut(site.machine, site.postgres.machine)),
            MEND,
            silence=SILENT_SECONDS,
            doubt=STORE,
        ),
        Fault(
            "store-mute",
            "what PostgreSQL sends to one node is dropped",
            doing(lambda site: site.network.cut(site.postgres.machine, site.machine)),
            MEND,
            silence=SILENT_SECONDS,
            doubt=STORE,
        ),
        Fault(
            "store-away",
            "PostgreSQL's link is down",
            doing(lambda site: site.network.unplug(site.postgres.machine)),
            MEND,
            most=ON_THE_WAY,
            doubt=STORE,
        ),
        Fault(
            "store-slow",
            f"PostgreSQL sends {SLOW_KBIT} kbit/s",
            doing(lambda site: site.network.throttle(site.postgres.machine, SLOW_KBIT)),
            MEND,
            doubt=unthrottled(lambda site: site.postgres),
        ),
        Fault(
            "store-killed",
            "PostgreSQL is killed, and starts again",
            doing(lambda site: site.postgres.stop()),
            doing(lambda site: site.postgres.start()),
            most=ON_THE_WAY,
            doubt=STORE,
        ),
        Fault(
            "store-hangs",
            "PostgreSQL is stopped by SIGSTOP, and goes on",
            doing(lambda site: site.postgres.freeze()),
            doing(lambda site: site.postgres.thaw()),
            most=ON_THE_WAY,
        ),
        Fault(
            "bus-cut",
            "all between one node and Valkey is dropped",
            doing(lambda site: site.network.part(site.machine, site.valkey.machine)),
            MEND,
            silence=SILENT_SECONDS,
            doubt=BUS,
        ),
        Fault(
            "bus-deaf",
            "what one node sends to Valkey is dropped",
            doing(lambda site: site.network.cut(site.machine, site.valkey.machine)),
            MEND,
            silence=SILENT_SECONDS,
            doubt=BUS,
        ),
        Fault(
            "bus-mute",
            "what Valkey sends to one node is dropped",
            doing(lambda site: site.network.cut(site.valkey.machine, site.machine)),
            MEND,
            silence=SILENT_SECONDS,
            doubt=BUS,
        ),
        Fault(
            "bus-away",
            "Valkey's link is down",
            doing(lambda site: site.network.unplug(site.valkey.machine)),
            MEND,
            silence=SILENT_SECONDS,
            doubt=BUS,
        ),
        Fault(
            "bus-slow",
            f"Valkey sends {SLOW_KBIT} kbit/s",
            doing(lambda site: site.network.throttle(site.valkey.machine, SLOW_KBIT)),
            MEND,
            doubt=unthrottled(lambda site: site.valkey),
        ),
        Fault(
            "bus-killed",
            "Valkey is killed, and starts again without its data",
            doing(lambda site: site.valkey.stop()),
            doing(lambda site: site.valkey.start()),
            doubt=BUS,
        ),
        Fault(
            "node-cut-off",
            "a node's link is down: clients, store and bus",
            doing(lambda site: site.network.unplug(site.machine)),
            MEND,
            silence=SILENT_SECONDS,
            cuts_clients=True,
            doubt=_first_serves,
        ),
        Fault(
            "node-killed",
            "a node is killed, and starts again",
            _node_killed,
            _node_starts,
            silence=SILENT_SECONDS,
            cuts_clients=True,
            doubt=_first_serves,
        ),
        Fault(
            "node-paused",
            "a node is stopped by SIGSTOP for longer than its lease",
            _node_paused,
            _node_goes_on,
            short=12,
            full=22,
            silence=SILENT_SECONDS,
            cuts_clients=True,
            doubt=_first_serves,
        ),
    ],
)
