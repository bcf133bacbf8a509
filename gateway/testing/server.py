"""A real gateway on a free port of this machine, in a thread of the test process."""

import asyncio
import secrets
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from gateway.app import create_app
from gateway.cli.serve import listen, server_config
from gateway.config.settings import Settings
from gateway.core.client_info import operator
from gateway.state import GatewayState
from gateway.store import users
from gateway.testing.clock import MovableClock
from handlers.registry import BUILT_IN, Handlers, Registry
from schemas.users import NewUser

START_SECONDS = 20

Result = TypeVar("Result")


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    host: str
    port: int
    settings: Settings
    clock: MovableClock
    state: GatewayState
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Return the address for HTTP."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Return the address for WebSockets, without a path."""
        return f"ws://{self.host}:{self.port}"

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the gateway's own loop, and return its result."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def token(self, user: str, *scopes: str) -> str:
        """Register a user, with these scopes or else `GATEWAY_DEFAULT_SCOPES`, and return an access token."""
        return await self.run(self._token(user, frozenset(scopes) or self.settings.default_scopes))

    async def _token(self, name: str, scopes: frozenset[str]) -> str:
        client = operator()
        registered = NewUser(username=name, password=secrets.token_urlsafe(16))
        user = await self.state.password_login.register(registered, client)
        granted = replace(user, scopes=" ".join(sorted(scopes)))
        await self.state.database.transact(partial(users.set_scopes, name=user.name, scopes=granted.scopes))
        return (await self.state.login_sessions.create(granted, scopes, client)).access_token


StartGateway = Callable[..., Gateway]
"""The type of the fixture `start_gateway`."""


class _TestSettings(Settings):
    """Settings without a developer's own: neither the environment nor a file changes them."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the arguments only."""
        return (init_settings,)


def settings_for_tests(data_dir: Path, **changes: Any) -> Settings:
    """Return settings for a test: the cheapest hashes and commits, and no limits but those in `changes`.

    The environment changes none of them.
    """
    values: dict[str, Any] = {
        "data_dir": data_dir,
        "password_rounds": 4,
        "sqlite_synchronous": "NORMAL",  # which differs at a power failure only, and no test has one
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
        "service_rate": 0,
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
    }
    return _TestSettings(**(values | changes))


class QuietServer(uvicorn.Server):
    """uvicorn without signal handlers, and without its pauses: many tests wait for the start and the end of one."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.decided = threading.Event()
        """Set once it has started or failed."""
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Stop, after the last connection. Call this in the server's loop."""
        self.should_exit = True
        self._ending.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the test runner."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, and announce it."""
        try:
            await super().startup(sockets)
        finally:
            self.decided.set()

    async def main_loop(self) -> None:
        """Set the date of the answers once a second, until the end."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as uvicorn does, which waits at least a tenth of a second for the connections."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - they have no event
                    await asyncio.sleep(0.005)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()
        await self.lifespan.shutdown()


@dataclass(frozen=True)
class Serving:
    """A uvicorn that serves an application."""

    host: str
    port: int
    server: QuietServer
    loop: asyncio.AbstractEventLoop


@contextmanager
def running_gateway(
    settings: Settings | None = None,
    *,
    registry: Registry | Handlers = BUILT_IN,
    options: dict[str, Any] | None = None,
    extend: Callable[[FastAPI], None] | None = None,
    **built_with: Any,
) -> Iterator[Gateway]:
    """Start a gateway on a free port of this machine, and stop it at the end.

    Without `settings`, it has those of `settings_for_tests` and a temporary data folder. `options` change uvicorn's
    configuration, `extend` adds to the application, and `create_app` takes the rest. Raises `RuntimeError` if the
    gateway does not start or stop in time; the log says why. Raises `TypeError` for an application as `settings`.
    """
    if settings is None:
        with TemporaryDirectory() as folder:
            again = running_gateway(
                settings_for_tests(Path(folder)), registry=registry, options=options, extend=extend, **built_with
            )
            with again as gateway:
                yield gateway
        return
    if not isinstance(settings, Settings):
        raise TypeError(f"settings: expected `Settings`, got {settings!r}; this makes the application itself")
    clock = MovableClock()
    app = create_app(settings, registry=registry, clock=clock, **built_with)
    if extend is not None:
        extend(app)
    with serving(server_config(settings, app, **(options or {}))) as running:
        state = running.server.lifespan.state["gateway"]
        yield Gateway(running.host, running.port, settings, clock, state, running.loop)


@contextmanager
def serving(config: uvicorn.Config, sock: socket.socket | None = None) -> Iterator[Serving]:
    """Serve an application on a bound socket or else a free port, in a thread, and stop at the end."""
    sock = sock or listen("127.0.0.1", 0)
    host, port = sock.getsockname()
    server = QuietServer(config)
    # The loop of `gateway serve`: uvloop, which differs at closed sockets.
    runner = asyncio.Runner(loop_factory=server.config.get_loop_factory())
    loop = runner.get_loop()

    async def serve() -> None:
        with suppress(SystemExit):
            await server.serve(sockets=[sock])

    def run() -> None:
        with runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="gateway")
    thread.start()
    try:
        if not server.decided.wait(START_SECONDS) or not server.started:
            raise RuntimeError("the gateway did not start")
        yield Serving(host, port, server, loop)
    finally:
        with suppress(RuntimeError):  # it has ended
            loop.call_soon_threadsafe(server.end)
        thread.join(START_SECONDS)
        if thread.is_alive():
            raise RuntimeError("the gateway did not stop")
