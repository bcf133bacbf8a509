"""The command `gateway doctor`."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.doctor.examination import examine
from gateway.cli.doctor.report import as_json, show
from gateway.cli.doctor.subject import Subject
from gateway.config.settings import Settings, load_settings
from gateway.core.logs import guard_logs
from gateway.core.start_error import StartError


def doctor(
    host: Annotated[str, typer.Option("--host", help="The address that `gateway serve` listens on.")] = "127.0.0.1",
    url: Annotated[
        str | None, typer.Option("--url", help="The public address of the running gateway: ask it through its proxy.")
    ] = None,
    backup: Annotated[Path | None, typer.Option("--backup", help="The newest backup, to check its age.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for a warning, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check the settings and surroundings of a gateway, and name each line to change. Nothing is changed."""
    guard_logs()
    settings, mistakes = _settings()
    subject = None if settings is None else Subject(settings, os.environ, host, url, backup)
    results = asyncio.run(examine(subject, mistakes))
    if json:
        typer.echo(as_json(results))
    else:
        show(results)
    if any(result.fails(strict=strict) for result in results):
        raise typer.Exit(1)


def _settings() -> tuple[Settings | None, list[str]]:
    """Return the settings, or the lines about what is wrong with them."""
    try:
        return load_settings(), []
    except StartError as error:
        return None, str(error).splitlines()
