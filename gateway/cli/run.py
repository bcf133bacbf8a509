"""`gateway serve` and `gateway dev`: run the gateway with uvicorn, in one process or in several."""

import asyncio
import logging
import os
import socket
import sys
from contextlib import ExitStack, closing
from functools import partial
from typing import Annotated

import typer
import uvicorn
from uvicorn.supervisors import ChangeReload

from gateway.auth.keys import key_ring
from gateway.bus.build import check_bus
from gateway.cli import workers as several
from gateway.cli.hangup import at_hangup
from gateway.cli.own_valkey import own_valkey
from gateway.cli.serve import (
    AnnouncedServer,
    AnnouncingServer,
    LogLevel,
    announce,
    check_protocols,
    check_transport,
    listen,
    server_config,
)
from gateway.cli.store import with_database
from gateway.cli.worker import end_with_parent, ignoring_replacement, run_in_child
from gateway.config.bus_url import MEMORY
from gateway.config.extensions import extended
from gateway.config.settings import PREFIX, Settings, load_settings, warn_of_unknown_names
from gateway.core import descriptors
from gateway.core.data_dir_lock import LOCK_NAME
from gateway.core.import_names import find_hidden
from gateway.core.logs import configure_logs
from gateway.core.start_error import StartError, check_writable, make_data_dir
from gateway.routes.file import read
from gateway.routes.surroundings import Surroundings
from gateway.store.engine import Database
from handlers.registry import BUILT_IN, Registry

logger = logging.getLogger(__name__)

Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="How many processes serve together; they need a bus.")]
Level = Annotated[LogLevel, typer.Option(help="How much to log.")]
App = Annotated[str, typer.Option(help="The application as MODULE:NAME; your own, if you have added handlers.")]

OWN_APP = "gateway.asgi:app"


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when the code changes.")] = False,
    log_level: Level = LogLevel.INFO,
    app: App = OWN_APP,
) -> None:
    """Serve the gateway."""
    settings = load_settings()
    if reload and workers > 1:
        raise StartError("expected --reload or --workers, got both")
    _serve(settings, host, port, workers, log_level, app, reload=reload)


def dev(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    log_level: Level = LogLevel.INFO,
    app: App = OWN_APP,
) -> None:
    """Serve on a developer's machine: reload after changes of the code, or start a bus for several workers."""
    settings = load_settings()
    if not settings.development:
        raise StartError("GATEWAY_ENVIRONMENT: expected development for `gateway dev`; use `gateway serve`")
    with ExitStack() as stack:
        configure_logs(log_level, settings.log_format)
        if workers > 1 and settings.bus_url == MEMORY:
            # In the environment, where the workers read it too.
            os.environ[f"{PREFIX}BUS_URL"] = stack.enter_context(own_valkey())
            settings = load_settings()
        _serve(settings, host, port, workers, log_level, app, reload=workers == 1)


def _serve(
    settings: Settings, host: str, port: int, workers: int, log_level: LogLevel, app: str, *, reload: bool = False
) -> None:
    configure_logs(log_level, settings.log_format)
    warn_of_unknown_names()
    # The directory of an application is the one where the command was started, as with `python -m`. It is set here, so
    # that every process that this one starts finds it as well.
    sys.path.insert(0, os.getcwd())
    if (problem := find_hidden()) is not None:
        raise StartError(problem)
    extended(BUILT_IN if app == OWN_APP else Registry(), settings.registry)  # each worker would complain otherwise
    several.check(settings, workers)
    check_protocols(settings)
    descriptors.raise_limit()
    make_data_dir(settings.data_dir)
    _check_files(settings)
    key_ring.load_key_ring(settings)
    with closing(listen(host, port)) as sock:
        check_transport(settings, sock)
        _check_routes(settings, app, sock)
        with_database(_nothing_more, settings)  # an error of the store is one line now, and many later
        asyncio.run(check_bus(settings))  # likewise for the bus
        logger.info(
            "%d connections fit into %s, which may open %d files",
            descriptors.max_connections(),
            "each worker" if workers > 1 else "this process",
            descriptors.limit(),
        )
        if workers > 1:
            several.run(settings, app, log_level, sock, workers)
        else:
            _serve_alone(settings, app, log_level, sock, reload=reload)


def _check_routes(settings: Settings, app: str, sock: socket.socket) -> None:
    """Refuse a wrong routes file in lines of its own, once for all workers."""
    if settings.routes is not None:
        registry = extended(BUILT_IN, settings.registry) if app == OWN_APP else None
        read(settings.routes, Surroundings.of(settings, registry, [sock.getsockname()[:2]]))


def _check_files(settings: Settings) -> None:
    """Refuse files in the data folder that this user may not write, such as those of root, before the start."""
    if settings.audit_path is not None:
        check_writable(settings.audit_path)
    if settings.bus_url == MEMORY:
        check_writable(settings.data_dir / LOCK_NAME)


def _serve_alone(settings: Settings, app: str, log_level: LogLevel, sock: socket.socket, *, reload: bool) -> None:
    if reload:
        announce(settings, sock)
        watched = uvicorn.Config(app, reload=True, log_config=None)  # the process that serves configures its own server
        reloader = ChangeReload(watched, target=partial(_serve_reloaded, app, log_level), sockets=[sock])
        with at_hangup(_do_nothing):  # the signal would end a child that is only starting
            reloader.run()
        return
    server = AnnouncingServer(server_config(settings, app, log_level=log_level), settings)
    with ignoring_replacement():
        server.run(sockets=[sock])
    if not server.started:
        raise StartError("the gateway did not start; the lines above say why")


def _serve_reloaded(app: str, log_level: LogLevel, sockets: list[socket.socket]) -> None:
    """Serve in a process that ends at the next change of the code."""
    end_with_parent()
    settings = load_settings()
    configure_logs(log_level, settings.log_format)
    run_in_child(AnnouncedServer(server_config(settings, app, log_level=log_level), settings), sockets)


def _do_nothing() -> None:
    """Leave the files to the next look of the child."""


async def _nothing_more(_database: Database, _settings: Settings) -> None:
    """Only open the store."""
