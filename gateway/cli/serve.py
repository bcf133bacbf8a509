"""The server of `gateway serve`: uvicorn with the protocol's options, an announcement at its start and a drain."""

import asyncio
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

import typer
import uvicorn
from fastapi import FastAPI

from gateway.cli.hangup import at_hangup
from gateway.config.proxies import TrustedProxies
from gateway.config.settings import Settings
from gateway.core.descriptors import max_connections
from gateway.core.faults import contained
from gateway.core.garbage import tune_garbage_collector
from gateway.core.start_error import StartError
from gateway.embedding import attached_to
from gateway.state import GatewayState
from gateway.transport.uvicorn import http, websocket
from gateway.transport.uvicorn.http import GuardedHttpProtocol, HttpConnectionLimits
from gateway.transport.uvicorn.websocket import GatewayProtocol
from schemas.base import DefinitionError

logger = logging.getLogger(__name__)

OVERSIZE_FACTOR = 4
"""A frame over the limit is answered with 41300. One this many times over it ends the connection with 1009."""

HANDOVER_SECONDS = 2
"""Seconds after the drain for what proxies still send on connections that they keep."""

SHUTDOWN_SECONDS = 1
"""Seconds for running requests, and for the last bytes to sockets, after the drain."""

CANCEL_SECONDS = 1
"""Seconds for requests to end after their sockets are cut."""


class LogLevel(StrEnum):
    """How much to log, from almost nothing to every ASGI event."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


def server_config(settings: Settings, app: object, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for the protocol."""
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
        "proxy_headers": False,  # the application reads them, as GATEWAY_TRUSTED_PROXIES says
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS + CANCEL_SECONDS,
    }
    return uvicorn.Config(app, **(defaults | options))  # type: ignore[arg-type]


def _websocket_protocol() -> object:
    if websocket.supported():
        return GatewayProtocol
    logger.warning(
        "uvicorn %s with websockets %s lacks what the raw transport needs: the gateway uses uvicorn's own protocol,"
        " which is slower and limits a bad client less; put a proxy in front",
        uvicorn.__version__,
        version("websockets"),
    )
    return "websockets-sansio"


def _http_protocol(settings: Settings) -> object:
    if not http.supported():
        logger.warning(
            "uvicorn %s lacks what the request deadline needs: GATEWAY_HANDSHAKE_SECONDS has no effect;"
            " put a proxy with such a deadline in front",
            uvicorn.__version__,
        )
        return "h11"  # slower than httptools, but httptools takes the body after an upgrade for another request
    # All clients of a proxy have its address.
    trusts = TrustedProxies(settings.trusted_proxies).trusts
    limits = (settings.max_connections_per_address, max_connections())
    handshakes = HttpConnectionLimits(settings.handshake_seconds, *limits, is_proxy=trusts)
    return partial(GuardedHttpProtocol, handshakes=handshakes)


def listen(host: str, port: int) -> socket.socket:
    """Bind the port before anything else starts, or raise `StartError`."""
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
    """Refuse to read passwords over plain HTTP from a network in production (ASVS 4.4.1)."""
    address = sock.getsockname()[0]
    if settings.development or settings.trusted_proxies or settings.plain_http or ip_address(address).is_loopback:
        return
    raise StartError(
        f"--host {address}: the gateway speaks plain HTTP, and production needs TLS in front; name the proxy that ends"
        " TLS in GATEWAY_TRUSTED_PROXIES, listen on 127.0.0.1, or set GATEWAY_PLAIN_HTTP=true if the network in"
        " between is as safe as a wire"
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
    """uvicorn with an announcement of its URLs at the start, and with a drain before it stops."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings
        self._rereading: asyncio.Task[None] | None = None
        self._hung_up = False

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve to the end; raise `StartError` where the application has a handler, an event or an error wrong."""
        try:
            super().run(sockets=sockets)
        except DefinitionError as error:
            raise StartError(str(error)) from None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the URLs."""
        await super().startup(sockets=sockets)
        if self.started and sockets:
            tune_garbage_collector()
            for gateway in self._gateways():
                gateway.routes.serves_at(sockets[0].getsockname()[:2])
            self.announce(sockets[0])

    def announce(self, sock: socket.socket) -> None:
        """Print the URLs for a browser, Postman and a terminal."""
        announce(self._settings, sock)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order at SIGTERM and Ctrl-C, with exit status 0, because that was requested. Reread at SIGHUP."""
        loop = asyncio.get_running_loop()
        with super().capture_signals(), at_hangup(lambda: loop.call_soon_threadsafe(self._reread_soon)):
            yield
            # uvicorn would raise the remaining signals again.
            self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, close the open ones in order, then stop.

        A proxy finds the door closed, and sends the next request to another node. On a connection that it keeps, the
        next answer says that there is no other.
        """
        for server in self.servers:
            server.close()
        for connection in self.server_state.connections:
            if isinstance(connection, GuardedHttpProtocol):
                connection.close_after_answer()
        await self._drain()
        await self._hand_over()
        # uvicorn waits for every socket to close. A client that does not read its last bytes would delay that for ever.
        cut = asyncio.get_running_loop().call_later(SHUTDOWN_SECONDS, self._cut_off)
        await super().shutdown(sockets=sockets)
        cut.cancel()

    def _cut_off(self) -> None:
        left = [connection.transport for connection in self.server_state.connections]
        for transport in left:
            transport.abort()
        if left:
            logger.info("cut off %d sockets that were not closed in time", len(left))

    def _gateways(self) -> list[GatewayState]:
        """List what the application has built: one gateway, or those that `attach` has put into it."""
        state = self.lifespan.state.get("gateway")
        if isinstance(state, GatewayState):
            return [state]
        app = self.config.loaded_app
        attached = attached_to(app) if isinstance(app, FastAPI) else []
        return [running.state for each in attached if (running := each.gateway.running) is not None]

    async def _drain(self) -> None:
        drains = [each.connections.drain(self._settings.drain_seconds) for each in self._gateways()]
        drain = asyncio.gather(*drains)
        while not drain.done() and not self.force_exit:
            await asyncio.wait([drain], timeout=0.1)
        drain.cancel()

    async def _hand_over(self) -> None:
        """Wait until proxies have used up the connections that they keep: the clients come back through these just now.

        If one were closed as a request comes, the proxy could not repeat that request, and would answer 502.
        """
        loop = asyncio.get_running_loop()
        # Neither uvicorn nor its signal handler says when a connection closes or a second signal comes.
        until = loop.time() + HANDOVER_SECONDS
        while loop.time() < until and self._keeps_connections_of_proxies() and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def _keeps_connections_of_proxies(self) -> bool:
        return any(
            isinstance(connection, GuardedHttpProtocol) and connection.is_of_proxy
            for connection in self.server_state.connections
        )

    def _reread_soon(self) -> None:
        if not self.started:
            return  # the files are being read anyway
        self._hung_up = True
        if self._rereading is None or self._rereading.done():
            self._rereading = asyncio.create_task(self._reread())

    async def _reread(self) -> None:
        """Read the files, and once more if another signal has come meanwhile."""
        while self._hung_up:
            self._hung_up = False
            logger.info("SIGHUP: reading the routes and the keys again")
            for gateway in self._gateways():
                with contained("hangup"):
                    await gateway.key_reloader.reload()
                    await gateway.routes.reload()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order at the first signal, and at once at the second."""
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)


class AnnouncedServer(AnnouncingServer):
    """A server in a child process. Its parent has printed the URLs."""

    def announce(self, sock: socket.socket) -> None:
        """Print nothing."""


def _command() -> str:
    """Return this command as it can be typed here. It may be in a virtual environment that is not active."""
    mine = Path(sys.argv[0])
    found = shutil.which("gateway")
    if (found is not None and Path(found).samefile(mine)) or mine.name != "gateway":
        return "gateway"
    return os.path.relpath(mine)


def announce(settings: Settings, sock: socket.socket) -> None:
    """Print the URLs for a browser, Postman and a terminal."""
    host, port = sock.getsockname()[:2]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = settings.root_path
    register = " --register" if settings.registration_open else ""
    lines = [
        f"  The gateway runs: {settings.environment}, data in {settings.data_dir.absolute()}",
        "",
    ]
    if settings.development:
        lines += [
            f"  Browser   http://{place}{path}/",
            f"  Docs      http://{place}{path}/docs/messages   (HTTP API: http://{place}{path}/docs)",
        ]
    if settings.token_endpoint == "on":  # noqa: S105 - a switch
        lines.append(f"  Postman   POST http://{place}{path}/token, form: username, password")
    lines += [
        f"            WebSocket ws://{place}{path}/ws/chat?token=<access_token>",
        f"  Terminal  {_command()} chat ws://{place}{path} --user alice --room lobby{register}",
        "",
    ]
    typer.echo("\n" + "\n".join(lines), err=True)
