"""A server that runs, as the load sees it, and how much load there is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.client import Client
from benchmarks.dialects import Authenticated, Dialect, enter_all
from benchmarks.rig import Person, Server
from gateway.settings import PREFIX

VISIT_SECONDS = 120
"""The most that the figures of one topic and server may take in one round, besides the time that is measured."""

SPARE_FILES = 1000
WARM_CONNECTIONS = 200

Figures = dict[str, dict[str, float]]
"""For each figure what it is of whom: of the server, and where a figure is held against another of its own, of that."""

AnyClient = TypeVar("AnyClient", bound=Client)


@dataclass(frozen=True)
class Sizes:
    """How much of it, and for how long."""

    echoing: int
    listening: int
    connecting: int
    idle: int
    steady: int
    """Messages a second in a room where one does not read."""
    password_rounds: int
    """The cost of the hashes that are made at log-ins."""
    seconds: float
    lasting: float
    """Seconds that a p99 is taken over: it needs many answers."""
    rounds: int

    def within(self, files: int, servers: int = 1) -> "Sizes":
        """Make it fit into a process's limit of open files: a connection takes one here, and one in its server.

        Those who echo, listen and connect do so with so many servers at a time.
        """
        most = max(1, files - SPARE_FILES)
        return replace(
            self,
            echoing=min(self.echoing, max(1, most // servers)),
            listening=min(self.listening, max(1, most // servers)),
            connecting=min(self.connecting, max(1, most - servers * WARM_CONNECTIONS)),
            idle=min(self.idle, most - WARM_CONNECTIONS),
        )


class Subject(Protocol):
    """A server to measure."""

    @property
    def name(self) -> str:
        """What it is called in the table."""

    def running(self, folder: Path) -> AbstractAsyncContextManager[tuple[int, Dialect]]:
        """Start it, and stop it at the end; gives its pid, and how it is spoken to."""


class Gateway:
    """The gateway, with its store and its people in a folder."""

    name = "gateway"

    def __init__(self, url: str, people: Sequence[Person], password_rounds: int, log_level: str) -> None:
        self._url = url
        self._settings = {f"{PREFIX}PASSWORD_ROUNDS": str(password_rounds)}
        self._tokens = [person.token for person in people]
        self._log_level = log_level

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[tuple[int, Dialect]]:
        """Start it, and stop it at the end; gives its pid, and how it is spoken to."""
        server = Server(folder, self._url, log_level=self._log_level, **self._settings)
        async with server.running() as pid:
            yield pid, Authenticated(server.port, self._tokens)


@dataclass(frozen=True)
class Visit:
    """A server that runs."""

    name: str
    pid: int
    dialect: Dialect
    folder: Path
    """Where its log is."""

    async def open(self, clients: Sequence[AnyClient], place: str) -> Sequence[AnyClient]:
        """Connect all of them, some at a time: up to the welcome, and for a room into it."""
        await enter_all(self.dialect, clients, place)
        return clients
