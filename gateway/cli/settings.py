"""`gateway settings`: prints the settings and what runs a gateway elsewhere, even without the source code."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.core.bundled_files import bundled_file


class Sample(StrEnum):
    """The files that come with the gateway."""

    ENV = "env"
    NGINX = "nginx"
    CADDY = "caddy"
    SYSTEMD = "systemd"
    COMPOSE = "compose"
    KUBERNETES = "kubernetes"


_PATHS = {
    Sample.ENV: ".env.example",
    Sample.NGINX: "deploy/nginx.conf",
    Sample.CADDY: "deploy/Caddyfile",
    Sample.SYSTEMD: "deploy/json-gateway.service",
    Sample.COMPOSE: "compose.yaml",
    Sample.KUBERNETES: "deploy/kubernetes.yaml",
}
_HELP = "env: a commented .env; nginx, caddy: a proxy's configuration; systemd, compose, kubernetes: a deployment."


def settings(
    sample: Annotated[Sample, typer.Argument(help=_HELP)] = Sample.ENV,
) -> None:
    """Print every setting with its default and its meaning, as a start for a .env."""
    typer.echo(read_sample(sample), nl=False)


def read_sample(sample: Sample) -> str:
    """Return a file that comes with the gateway, from the wheel or from the sources of an editable installation."""
    return bundled_file(_PATHS[sample]).read_text(encoding="utf-8")
