"""`gateway settings`: prints the settings and proxy configurations, even without the source code."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.core.bundled_files import bundled_file


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
    return bundled_file(_PATHS[sample]).read_text(encoding="utf-8")
