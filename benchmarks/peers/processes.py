"""Peers as processes: how each starts, its dialect, and which of them this machine has."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import typer

from benchmarks.dialects import Dialect, Plain, SocketIO
from benchmarks.rig import KEY, START_SECONDS, STOP_SECONDS, free_port
from benchmarks.room_dialects import Authenticated, Centrifugo, RoomDialect, SocketIORooms

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent

NODE_PACKAGES = ROOT / "data/peers/node_modules"
"""The folder for npm's packages, which the text about missing peers names; NODE_PATH goes first."""

CHECKS_TOKENS = {"PEER_KEY": KEY}
"""The environment of a peer that checks tokens."""

CentrifugoBinary = Annotated[
    Path | None, typer.Option("--centrifugo", exists=True, dir_okay=False, help="A binary of Centrifugo 6, as a peer.")
]
"""The option of a benchmark with peers that have rooms."""


SomeDialect = TypeVar("SomeDialect", bound=Dialect, covariant=True)


@dataclass(frozen=True)
class Peer(Generic[SomeDialect]):
    """A server to compare with."""

    name: str
    arguments: tuple[str, ...]
    """The command that starts it; the port comes last."""
    dialect: Callable[[int], SomeDialect]
    environment: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[tuple[int, SomeDialect]]:
        """Start the server, yield its pid and its dialect, and stop it at the end."""
        port = free_port()
        log = folder / "peer.log"
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - a program of this package; starting takes no time
                [*self.arguments, str(port)],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        try:
            await _answers(port, process, log)
            yield process.pid, self.dialect(port)
        finally:
            process.kill()  # a peer needs no good-bye
            await asyncio.to_thread(process.wait, STOP_SECONDS)


async def _answers(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"a peer did not start:\n{_read(log)}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8")


def on_uvicorn(module: str) -> tuple[str, ...]:
    """Return the command that serves a peer with uvicorn."""
    options = ("--host", "127.0.0.1", "--log-level", "warning", "--no-access-log")
    return (sys.executable, "-m", "uvicorn", f"benchmarks.peers.{module}:app", *options, "--port")


BARE = Peer("bare ASGI", on_uvicorn("bare"), Plain)
TUTORIAL = Peer("tutorial", on_uvicorn("tutorial"), Plain)
PYTHON_SOCKETIO = Peer("python-socketio", on_uvicorn("python_socketio"), SocketIO)
CHANNELS = Peer("Django Channels", on_uvicorn("django_channels"), Plain)


def durable_tutorial(tokens: Sequence[str], database: Path) -> Peer[Authenticated]:
    """Return the tutorial that commits each message with sqlite3 into a file."""
    environment = CHECKS_TOKENS | {"PEER_DATABASE": str(database)}
    return Peer("tutorial", on_uvicorn("tutorial_sqlite"), partial(Authenticated, tokens=tokens), environment)


def peers() -> tuple[list[Peer[Plain]], list[str]]:
    """Return the installed peers, and a text with their versions and the reasons for the missing ones."""
    found, words = [BARE, TUTORIAL], []
    for package, peer in (("python-socketio", PYTHON_SOCKETIO), ("channels", CHANNELS)):
        try:
            words.append(f"{peer.name} {version(package)}")
        except PackageNotFoundError:
            words.append(f"{peer.name} is left out: it is not installed; `pip install -e '.[bench]'` does that")
        else:
            found.append(peer)
    on_node, more_words = _on_node((("ws", "ws.js", Plain), ("socket.io", "socket_io.js", SocketIO)))
    return found + on_node, words + more_words


def room_peers(tokens: Sequence[str], centrifugo: CentrifugoBinary) -> tuple[list[Peer[RoomDialect]], list[str]]:
    """Return the installed peers with tokens and rooms, and a text as of `peers`.

    They check the same tokens as the gateway.
    """
    plainly: Callable[[int], RoomDialect] = partial(Authenticated, tokens=tokens)
    over_socket_io: Callable[[int], RoomDialect] = partial(SocketIORooms, tokens=tokens)
    found: list[Peer[RoomDialect]] = [Peer("tutorial", on_uvicorn("tutorial_rooms"), plainly, CHECKS_TOKENS)]
    on_node, words = _on_node(
        (("ws", "ws_rooms.js", plainly), ("socket.io", "socket_io_rooms.js", over_socket_io)),
    )
    found += on_node
    if centrifugo is None:
        words.append("Centrifugo is left out: `--centrifugo` names no binary")
    else:
        words.append(subprocess.check_output([centrifugo, "version"], text=True).strip())  # noqa: S603 - the user's own
        arguments = (str(centrifugo.resolve()), "--config", str(PROGRAMS / "centrifugo.json"), "--http_server.port")
        key = {"CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY": KEY}
        found.append(Peer("Centrifugo", arguments, partial(Centrifugo, tokens=tokens), key))
    return found, words


def _on_node(
    programs: Iterable[tuple[str, str, Callable[[int], SomeDialect]]],
) -> tuple[list[Peer[SomeDialect]], list[str]]:
    found, words = [], []
    node = shutil.which("node")
    for package, program, dialect in programs:
        name = f"Node {package}"
        if node is None:
            words.append(f"{name} is left out: there is no `node` on the PATH")
        elif (place := _node_package(package)) is None:
            words.append(
                f"{name} is left out: it is not installed; `npm install --prefix data/peers ws socket.io` does that"
            )
        else:
            words.append(f"{name} {json.loads((place / 'package.json').read_text(encoding='utf-8'))['version']}")
            environment = CHECKS_TOKENS | {"NODE_PATH": str(place.parent.resolve())}
            found.append(Peer(name, (node, str(PROGRAMS / program)), dialect, environment))
    return found, words


def _node_package(name: str) -> Path | None:
    places = [Path(place) for place in os.environ.get("NODE_PATH", "").split(os.pathsep) if place]
    for place in (*places, NODE_PACKAGES):
        if (place / name / "package.json").exists():
            return place / name
    return None
