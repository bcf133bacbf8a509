"""A real gateway on a free port of this machine, in a thread of the test process."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI

from gateway.app import create_app
from gateway.cli.serve import listen, server_config
from gateway.config.settings import Settings
from gateway.core.clock import SystemClock
from gateway.state import GatewayState
from handlers.registry import BUILT_IN, Handlers, Registry

START_SECONDS = 20

Result = TypeVar("Result")


class AdjustableClock(SystemClock):
    """The machine's time, plus the time that a test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._stopped_at: float | None = None

    def wall(self) -> float:
        return super().wall() + self.ahead

    def steady(self) -> float:
        return (super().steady() if self._stopped_at is None else self._stopped_at) + self.ahead

    def stop(self) -> None:
        """Let the steady time pass only as the test says, however long the machine takes."""
        self._stopped_at = super().steady()


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    host: str
    port: int
    settings: Settings
    clock: AdjustableClock
    state: GatewayState
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run something in the gateway's own loop, like an operator's command in its process."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


def settings_for_tests(data_dir: Path, **changes: Any) -> Settings:
    """Return settings for a test: the cheapest hashes, and no limits except those of the test."""
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "password_rounds": 4,
        "login_rate_per_user": 0,
        "login_rate_per_address": 0,
        "registration_rate_per_address": 0,
        "max_rooms_joined": 0,
        "max_rooms_owned": 0,
        "max_stored_bytes_per_user": 0,
        "max_stored_bytes_per_room": 0,
        "login_backoff_seconds": 0,
        "refresh_rate_per_session": 0,
        "request_rate": 0,
        "connection_rate": 0,
        "connection_rate_per_user": 0,
        "max_connections_per_address": 0,
        "message_rate": 0,
        "message_rate_per_user": 0,
        "message_rate_per_address": 0,
        "write_bytes_per_user": 0,
        "join_rate": 0,
        "join_rate_per_user": 0,
        "max_protocol_errors": 0,
        "_env_file": None,  # without a developer's own settings
    }
    return Settings(**(values | changes))


class QuietServer(uvicorn.Server):
    """uvicorn without signal handlers, and with a quick end: hundreds of tests wait for one."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to pytest

    async def main_loop(self) -> None:
        for tick in itertools.count():
            if await self.on_tick(tick % 100):
                return
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Serving:
    """A uvicorn that serves an application."""

    host: str
    port: int
    server: uvicorn.Server
    loop: asyncio.AbstractEventLoop


@contextmanager
def running_gateway(
    settings: Settings,
    *,
    registry: Registry | Handlers = BUILT_IN,
    options: dict[str, Any] | None = None,
    extend: Callable[[FastAPI], None] | None = None,
    **built_with: Any,
) -> Iterator[Gateway]:
    """Start a gateway, and stop it at the end.

    `options` change uvicorn's configuration, `extend` adds to the application, and `create_app` takes the rest.
    """
    clock = AdjustableClock()
    app = create_app(settings, registry=registry, clock=clock, **built_with)
    if extend is not None:
        extend(app)
    with serving(server_config(settings, app, **(options or {}))) as running:
        state = running.server.lifespan.state["gateway"]
        yield Gateway(running.host, running.port, settings, clock, state, running.loop)


@contextmanager
def serving(config: uvicorn.Config) -> Iterator[Serving]:
    """Serve an application on a free port, in a thread, and stop at the end."""
    sock = listen("127.0.0.1", 0)
    host, port = sock.getsockname()
    server = QuietServer(config)
    started = threading.Event()

    loop: asyncio.AbstractEventLoop

    async def serve() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for this
            await asyncio.sleep(0.005)
        started.set()
        with contextlib.suppress(SystemExit):
            await task

    def run() -> None:
        # The loop of `gateway serve`: uvloop, which differs at closed sockets.
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    try:
        assert started.wait(START_SECONDS)
        assert server.started, "the gateway did not start"
        yield Serving(host, port, server, loop)
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        assert not thread.is_alive(), "the gateway did not stop"
