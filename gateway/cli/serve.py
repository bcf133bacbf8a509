"""The server that `gateway serve` runs: uvicorn, as the protocol wants it, and how it begins and ends."""

import asyncio
import gc
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from rich.console import Console

from gateway.config.proxies import TrustedProxies
from gateway.config.settings import Settings
from gateway.core.descriptors import connections_that_fit
from gateway.core.start_error import StartError
from gateway.state import GatewayState
from gateway.transport.uvicorn import http, websocket
from gateway.transport.uvicorn.http import GuardedHttpProtocol, HttpConnectionLimits
from gateway.transport.uvicorn.websocket import GatewayProtocol
from schemas.base import DefinitionError

logger = logging.getLogger(__name__)

OVERSIZE_FACTOR = 4
"""A frame over the limit is answered with 41300; one this many times over it ends the connection with 1009."""

SHUTDOWN_SECONDS = 1
"""How long requests that are under way, and the last bytes to sockets, are given when all have had their time."""

CANCEL_SECONDS = 1
"""How long requests are given to end once their sockets are cut."""


class LogLevel(StrEnum):
    """How much to log, from almost nothing to every ASGI event."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


def server_config(settings: Settings, app: object, **options: Any) -> uvicorn.Config:
    """Configure uvicorn as the protocol wants it."""
    defaults: dict[str, Any] = {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "http": _http_protocol(settings),
        "ws": _websocket_protocol(),
        "ws_max_size": settings.max_message_bytes * OVERSIZE_FACTOR,
        "ws_per_message_deflate": settings.deflate,
        "ws_ping_interval": settings.heartbeat_seconds,
        "ws_ping_timeout": settings.heartbeat_seconds,
        "timeout_keep_alive": settings.keep_alive_seconds,
        "proxy_headers": False,  # the application reads them, by GATEWAY_TRUSTED_PROXIES alone
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS + CANCEL_SECONDS,
    }
    return uvicorn.Config(app, **(defaults | options))  # type: ignore[arg-type]


def _websocket_protocol() -> object:
    if websocket.supported():
        return GatewayProtocol
    logger.warning(
        "uvicorn %s with websockets %s is not what the direct way to sockets was made for: uvicorn's own protocol is"
        " used, which is slower and lets a bad client do more; have a proxy in front",
        uvicorn.__version__,
        version("websockets"),
    )
    return "websockets-sansio"


def _http_protocol(settings: Settings) -> object:
    if not http.supported():
        logger.warning(
            "uvicorn %s is not what the deadline for requests was made for: GATEWAY_HANDSHAKE_SECONDS is not kept;"
            " have a proxy in front that has one",
            uvicorn.__version__,
        )
        return "h11"  # slower than httptools, which takes the body of a request that offers an upgrade for another one
    # All clients of a proxy come from its address.
    trusts = TrustedProxies(settings.trusted_proxies).trusts
    limits = (settings.max_connections_per_address, connections_that_fit())
    handshakes = HttpConnectionLimits(settings.handshake_seconds, *limits, is_proxy=trusts)
    return partial(GuardedHttpProtocol, handshakes=handshakes)


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is started, or raise `StartError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise StartError(f"cannot listen on {host}: no such address; name another with --host") from None
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise StartError(
            f"cannot listen on {host} port {port} ({error.strerror});"
            " stop what listens there, or choose another port with --port"
        ) from None
    sock.set_inheritable(True)
    return sock


def check_transport(settings: Settings, sock: socket.socket) -> None:
    """Refuse to take passwords in plain HTTP from a network in production (ASVS 4.4.1)."""
    address = sock.getsockname()[0]
    if settings.development or settings.trusted_proxies or settings.plain_http or ip_address(address).is_loopback:
        return
    raise StartError(
        f"--host {address}: the gateway speaks plain HTTP, and production needs TLS before it; name the proxy that ends"
        " TLS in GATEWAY_TRUSTED_PROXIES, listen on 127.0.0.1, or write GATEWAY_PLAIN_HTTP=true if the network between"
        " is as safe as a wire"
    )


def check_protocols(settings: Settings) -> None:
    """Raise `StartError` in production where uvicorn's own protocols would stand in for the gateway's."""
    if settings.development or settings.allow_uvicorn_protocol or (http.supported() and websocket.supported()):
        return
    raise StartError(
        "expected uvicorn and websockets in the versions that json-gateway names,"
        f" got uvicorn {uvicorn.__version__} and websockets {version('websockets')},"
        " on which its limits for bad clients cannot build; install the former,"
        " or write GATEWAY_ALLOW_UVICORN_PROTOCOL=true if a proxy in front has such limits"
    )


class AnnouncingServer(uvicorn.Server):
    """uvicorn, which says where to go once it is there, and says good-bye before it hangs up."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve to the end; raise `StartError` where the application has a handler, an event or an error wrong."""
        try:
            super().run(sockets=sockets)
        except DefinitionError as error:
            raise StartError(str(error)) from None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell where."""
        await super().startup(sockets=sockets)
        if self.started and sockets:
            calm_the_collector()
            self.announce(sockets[0])

    def announce(self, sock: socket.socket) -> None:
        """Tell where to point a browser, Postman and a terminal."""
        announce(self._settings, sock)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order at SIGTERM and Ctrl-C. That is what was asked for, so the exit status is 0."""
        with super().capture_signals():
            yield
            # What is left in it, uvicorn would raise again.
            self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in, say good-bye to all who are there, then stop."""
        for server in self.servers:
            server.close()
        state: GatewayState | None = self.lifespan.state.get("gateway")
        if state is not None:
            await self._drain(state)
        # uvicorn waits for every socket to be closed, and one whose client does not read its last bytes never is.
        cut = asyncio.get_running_loop().call_later(SHUTDOWN_SECONDS, self._cut_off)
        await super().shutdown(sockets=sockets)
        cut.cancel()

    def _cut_off(self) -> None:
        left = [connection.transport for connection in self.server_state.connections]
        for transport in left:
            transport.abort()
        if left:
            logger.info("cut off %d sockets that were not closed in time", len(left))

    async def _drain(self, state: GatewayState) -> None:
        drain = asyncio.create_task(state.connections.drain(self._settings.drain_seconds))
        while not drain.done() and not self.force_exit:
            await asyncio.wait([drain], timeout=0.1)
        drain.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order at the first signal, and at once at the second."""
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)


class AnnouncedServer(AnnouncingServer):
    """A server in a process of its own, whose parent has said where to go."""

    def announce(self, sock: socket.socket) -> None:
        """Say nothing."""


def calm_the_collector() -> None:
    """Take what was loaded at the start out of the garbage collector's sight, and have it look less often.

    Thousands of connections are thousands of young objects that live; looking through them again and again is most of
    what it does.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def _command() -> str:
    """Write this command as one can type it here: it may be in a virtual environment that is not active."""
    mine = Path(sys.argv[0])
    found = shutil.which("gateway")
    if (found is not None and Path(found).samefile(mine)) or mine.name != "gateway":
        return "gateway"
    return os.path.relpath(mine)


def announce(settings: Settings, sock: socket.socket) -> None:
    """Say where to point a browser, Postman and a terminal."""
    host, port = sock.getsockname()[:2]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = settings.root_path
    register = " --register" if settings.registration_open else ""
    lines = [
        f"  The gateway runs: {settings.environment}, data in {settings.data_dir.absolute()}",
        "",
    ]
    if settings.development:
        lines.append(f"  Browser   http://{place}{path}/   (API: http://{place}{path}/docs)")
    if settings.token_endpoint == "on":  # noqa: S105 - a switch
        lines.append(f"  Postman   POST http://{place}{path}/token, form: username, password")
    lines += [
        f"            WebSocket ws://{place}{path}/ws/chat?token=<access_token>",
        f"  Terminal  {_command()} chat ws://{place}{path} --user alice --room lobby{register}",
        "",
    ]
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print("\n" + "\n".join(lines))
