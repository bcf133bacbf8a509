"""`gateway token check`: prints each check of a token of another service, with its result."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer

from gateway.auth.external.build import keys_of
from gateway.auth.external.examination import Examination, Finding, Result, issuer_named_by, shown
from gateway.config.external_services import Issuer
from gateway.config.settings import Settings, load_settings
from gateway.core.clock import SystemClock
from gateway.core.logs import guard_logs
from gateway.core.start_error import StartError

MAX_BYTES = 64 * 1024
"""Bytes that are read: more than a token may have, so that a longer one is still shown as too long."""


def check(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A file with the token, or - for standard input.", show_default=False)
    ],
    service: Annotated[
        str | None,
        typer.Option(help="The service of GATEWAY_ISSUERS; without it, each of them.", show_default=False),
    ] = None,
) -> None:
    """Print each check of a token of another service, with its result. It adds no user and keeps nothing.

    The exit status is 0 if a service accepts the token, also if the token is good but has expired, and 1 otherwise.
    """
    settings = load_settings()
    issuers = _chosen(settings, service)
    token = _read(file)
    accepted = asyncio.run(_check_all(token, issuers, settings))
    if (note := _note(issuer_named_by(token), settings)) is not None:
        typer.echo(f"note: {note}", err=True)
    raise typer.Exit(0 if accepted else 1)


def _chosen(settings: Settings, service: str | None) -> Mapping[str, Issuer]:
    if not settings.issuers:
        raise StartError(
            "GATEWAY_ISSUERS: expected an issuer of tokens, got none; "
            "run this in the folder of the gateway, or with its variables"
        )
    if service is None:
        return settings.issuers
    if service not in settings.issuers:
        raise StartError(f"--service: expected one of GATEWAY_ISSUERS: {', '.join(settings.issuers)}")
    return {service: settings.issuers[service]}


def _note(named: str | None, settings: Settings) -> str | None:
    """Return what to do with a token that no service of the settings has made."""
    if named is None or named in {issuer.issuer for issuer in settings.issuers.values()}:
        return None
    if named == settings.token_issuer:
        return "this is a token of this gateway itself, which counts without ?service="
    return f"no service of GATEWAY_ISSUERS has the issuer {shown(named)} of this token"


def _read(file: str) -> str:
    """Return the token. No error repeats FILE, which may be a token that was pasted into the wrong place."""
    try:
        token = (_ask() if file == "-" else _content(file)).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise StartError(
            f"FILE: expected a file with a token, or - for standard input ({reason});"
            " do not type a token itself, which the shell would remember"
        ) from None
    if token.lower().startswith("bearer "):
        token = token[len("bearer ") :].strip()
    if not token:
        raise StartError("FILE: expected a token, got nothing")
    return token


def _ask() -> str:
    """Return standard input. A terminal does not show what is typed, as with a password."""
    if sys.stdin.isatty():
        return str(typer.prompt("Token", hide_input=True))
    return sys.stdin.buffer.read(MAX_BYTES).decode()


def _content(file: str) -> str:
    with open(file, "rb") as opened:
        return opened.read(MAX_BYTES).decode()


async def _check_all(token: str, issuers: Mapping[str, Issuer], settings: Settings) -> bool:
    """Print the checks of each service, and return whether one of them accepts the token."""
    guard_logs()
    clock, accepted = SystemClock(), False
    for name, issuer in issuers.items():
        async with keys_of(name, issuer, settings, clock) as keys:
            examination = Examination(name, issuer, keys, settings.default_scopes, clock.wall())
            found = await examination.examine(token)
        for line in _lines(name, issuer, found):
            typer.echo(line)
        accepted = accepted or not _failed(found)
    return accepted


def _lines(name: str, issuer: Issuer, found: list[Finding]) -> Iterator[str]:
    yield f"{name}, the issuer {issuer.issuer}"
    for each in found:
        yield f"  {each.check:<10} {each.result:<8} {each.text}"
    if failed := _failed(found):
        yield f"  refused: {', '.join(failed)}"
    elif any(each.check == "times" and each.result is Result.WARNING for each in found):
        yield "  accepted, if it had not expired"
    else:
        yield "  accepted"


def _failed(found: list[Finding]) -> list[str]:
    return [each.check for each in found if each.result is Result.FAILED]
