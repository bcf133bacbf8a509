"""A running server, as the load sees it, and the amount of the load."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.client import Client
from benchmarks.dialects import Dialect, enter_all
from benchmarks.rig import Person, Server
from benchmarks.room_dialects import Authenticated
from gateway.config.settings import PREFIX

VISIT_SECONDS = 120
"""The most seconds for one topic and server in a round, besides the measured time."""

SPARE_FILES = 1000
WARM_CONNECTIONS = 200

MEMBERS_OF_SMALL_ROOMS = 12
"""In a room of each size."""

Figures = dict[str, dict[str, float]]
"""Each figure by the name of its server, or of the situation that it is compared with."""

AnyClient = TypeVar("AnyClient", bound=Client)


@dataclass(frozen=True)
class Sizes:
    """The amounts of load, and for how long."""

    echoing: int
    listening: int
    connecting: int
    idle: int
    small_rooms: int
    """Rooms of 2 members, and as many of 10."""
    steady: int
    """Messages a second in the room of the slow reader."""
    password_rounds: int
    """The cost of a hash at a log-in."""
    seconds: float
    lasting: float
    """Seconds for a p99, which needs many answers."""
    rounds: int

    def within(self, files: int, servers: int = 1) -> "Sizes":
        """Fit the load into a process's limit of open files: a connection takes one here, and one in its server.

        The clients of `servers` servers are open at a time.
        """
        most = max(1, files - SPARE_FILES)
        return replace(
            self,
            echoing=min(self.echoing, max(1, most // servers)),
            listening=min(self.listening, max(1, most // servers)),
            connecting=min(self.connecting, max(1, most - servers * WARM_CONNECTIONS)),
            idle=min(self.idle, most - WARM_CONNECTIONS),
            small_rooms=min(self.small_rooms, max(1, most // servers // MEMBERS_OF_SMALL_ROOMS)),
        )


class Subject(Protocol):
    """A server to measure."""

    @property
    def name(self) -> str:
        """Return its name in the table."""

    def running(self, folder: Path) -> AbstractAsyncContextManager[tuple[int, Dialect]]:
        """Start the server, yield its pid and its dialect, and stop it at the end."""


class Gateway:
    """The gateway, with its store and its users in a folder."""

    def __init__(
        self, url: str, people: Sequence[Person], password_rounds: int, log_level: str, name: str = "gateway"
    ) -> None:
        self.name = name
        self._url = url
        self._settings = {f"{PREFIX}PASSWORD_ROUNDS": str(password_rounds)}
        self._tokens = [person.token for person in people]
        self._log_level = log_level

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[tuple[int, Authenticated]]:
        """Start the server, yield its pid and its dialect, and stop it at the end."""
        server = Server(folder, self._url, log_level=self._log_level, **self._settings)
        async with server.running() as pid:
            yield pid, Authenticated(server.port, self._tokens)


@dataclass(frozen=True)
class Visit:
    """A running server."""

    name: str
    pid: int
    dialect: Dialect
    folder: Path
    """The folder of its log."""

    async def open(self, clients: Sequence[AnyClient], place: str, first: int = 0) -> Sequence[AnyClient]:
        """Connect all clients, some at a time, up to the welcome, and into the room if the place is one."""
        await enter_all(self.dialect, clients, place, first)
        return clients
