"""What the gateway's transport is measured against, each as its own documentation would write it.

They do less than the gateway: no token is checked, nothing is validated and nothing is stored. What is said comes back,
and what is said in a room goes to everyone in it.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from benchmarks.rig import START_SECONDS, STOP_SECONDS, free_port

ROOT = Path(__file__).parents[1]

tutorial = FastAPI()
"""The two examples of https://fastapi.tiangolo.com/advanced/websockets/."""


class ConnectionManager:
    """The tutorial's own."""

    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        """Let one in."""
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        """Let one out."""
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        """Tell all."""
        for connection in self.active_connections:
            await connection.send_text(message)


manager = ConnectionManager()


@tutorial.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Say everything back."""
    await websocket.accept()
    async for data in websocket.iter_json():
        await websocket.send_json(data)


@tutorial.websocket("/room")
async def room(websocket: WebSocket) -> None:
    """Say everything to all."""
    await manager.connect(websocket)
    try:
        while True:
            await manager.broadcast(await websocket.receive_text())
    except WebSocketDisconnect:
        manager.disconnect(websocket)


async def bare(
    scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Say every text back, with nothing between uvicorn and this."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


NODE_PROGRAM = """
const { WebSocket, WebSocketServer } = require('ws');
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false });
server.on('connection', (socket, request) => {
  socket.on('error', () => {});
  if (request.url === '/room') {
    socket.on('message', (data) => {
      server.clients.forEach((client) => {
        if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
      });
    });
  } else {
    socket.on('message', (data) => socket.send(JSON.stringify(JSON.parse(data))));
  }
});
"""


@dataclass(frozen=True)
class Peer:
    """A server to compare with."""

    name: str
    arguments: tuple[str, ...]
    """How it is started; the port comes last."""

    @asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[tuple[int, str]]:
        """Start it, and stop it at the end; gives its pid and its address."""
        port = free_port()
        log = folder / "peer.log"
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - a program of this module; starting takes no time
                [*self.arguments, str(port)], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        try:
            await _answers(port, process, log)
            yield process.pid, f"ws://127.0.0.1:{port}"
        finally:
            process.kill()  # nobody is owed a good-bye
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


def _on_uvicorn(application: str) -> tuple[str, ...]:
    options = ("--host", "127.0.0.1", "--log-level", "warning", "--no-access-log")
    return (sys.executable, "-m", "uvicorn", f"{__name__}:{application}", *options, "--port")


BARE = Peer("bare ASGI", _on_uvicorn("bare"))
TUTORIAL = Peer("tutorial", _on_uvicorn("tutorial"))


def node_peer() -> tuple[Peer | None, str]:
    """Give Node's `ws`, or none; and in words which one, or why not."""
    node = shutil.which("node")
    if node is None:
        return None, "Node's ws is left out: there is no `node` on the PATH"
    places: Iterable[str] = (*os.environ.get("NODE_PATH", "").split(os.pathsep), str(ROOT / "data/peers/node_modules"))
    for place in filter(None, places):
        package = Path(place) / "ws"
        if (package / "package.json").exists():
            version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
            program = NODE_PROGRAM.replace("require('ws')", f"require({json.dumps(str(package.resolve()))})")
            # With `--` so that the port is the program's.
            return Peer("Node ws", (node, "-e", program, "--", "ws")), f"Node's ws {version}"
    return None, "Node's ws is left out: it is not installed; `npm install --prefix data/peers ws` does that"
