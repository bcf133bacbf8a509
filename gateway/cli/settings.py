"""`gateway settings`: prints the settings and proxy configurations, even without the source code."""

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer


class Sample(StrEnum):
    """The files that come with the gateway."""

    ENV = "env"
    NGINX = "nginx"
    CADDY = "caddy"


_PATHS = {Sample.ENV: ".env.example", Sample.NGINX: "deploy/nginx.conf", Sample.CADDY: "deploy/Caddyfile"}


def settings(
    sample: Annotated[
        Sample, typer.Argument(help="env: a commented .env; nginx, caddy: a proxy's configuration.")
    ] = Sample.ENV,
) -> None:
    """Print every setting with its default and its meaning, as a start for a .env."""
    typer.echo(read_sample(sample), nl=False)


def read_sample(sample: Sample) -> str:
    """Return a file that comes with the gateway, from the wheel or from the sources of an editable installation."""
    package = Path(str(files("gateway")))
    for folder in (package / "samples", package.parent):
        if (path := folder / _PATHS[sample]).is_file():
            return path.read_text(encoding="utf-8")
    raise AssertionError(f"{_PATHS[sample]} is missing from this installation")
